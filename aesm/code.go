package aesm

import (
	"context"
	"errors"
	"fmt"
)

// Code is the errorCode of an AESM reply: an aesm_error_t of Intel's aesm_error.h
// (github.com/intel/linux-sgx, psw/ae/inc/internal/aesm_error.h). It is an error: a
// Handler returns one, or an error that wraps one, to choose the code that the
// client gets.
type Code uint32

// The codes, with their names in aesm_error.h. A comment after the name says when
// daemons return the code today; the other codes date from EPID attestation and the
// platform services.
const (
	CodeSuccess                    Code = 0  // AESM_SUCCESS
	CodeUnexpected                 Code = 1  // AESM_UNEXPECTED_ERROR: anything without a code of its own
	CodeNoDevice                   Code = 2  // AESM_NO_DEVICE_ERROR
	CodeParameter                  Code = 3  // AESM_PARAMETER_ERROR: a size or a structure in the request is wrong
	CodeEPIDBlob                   Code = 4  // AESM_EPIDBLOB_ERROR
	CodeEPIDRevoked                Code = 5  // AESM_EPID_REVOKED_ERROR
	CodeGetLicenseToken            Code = 6  // AESM_GET_LICENSETOKEN_ERROR
	CodeSessionInvalid             Code = 7  // AESM_SESSION_INVALID
	CodeMaxNumSessionReached       Code = 8  // AESM_MAX_NUM_SESSION_REACHED
	CodePSDAUnavailable            Code = 9  // AESM_PSDA_UNAVAILABLE
	CodeEPHSessionFailed           Code = 10 // AESM_EPH_SESSION_FAILED
	CodeLongTermPairingFailed      Code = 11 // AESM_LONG_TERM_PAIRING_FAILED
	CodeNetwork                    Code = 12 // AESM_NETWORK_ERROR: fetching certificates failed
	CodeNetworkBusy                Code = 13 // AESM_NETWORK_BUSY_ERROR
	CodeProxySettingAssist         Code = 14 // AESM_PROXY_SETTING_ASSIST
	CodeFileAccess                 Code = 15 // AESM_FILE_ACCESS_ERROR
	CodeSGXProvisionFailed         Code = 16 // AESM_SGX_PROVISION_FAILED
	CodeServiceStopped             Code = 17 // AESM_SERVICE_STOPPED
	CodeBusy                       Code = 18 // AESM_BUSY: overload: try again
	CodeBackendServerBusy          Code = 19 // AESM_BACKEND_SERVER_BUSY
	CodeUpdateAvailable            Code = 20 // AESM_UPDATE_AVAILABLE
	CodeOutOfMemory                Code = 21 // AESM_OUT_OF_MEMORY_ERROR
	CodeMsg                        Code = 22 // AESM_MSG_ERROR
	CodeThread                     Code = 23 // AESM_THREAD_ERROR
	CodeSGXDeviceNotAvailable      Code = 24 // AESM_SGX_DEVICE_NOT_AVAILABLE
	CodeEnableSGXDeviceFailed      Code = 25 // AESM_ENABLE_SGX_DEVICE_FAILED
	CodePlatformInfoBlobInvalidSig Code = 26 // AESM_PLATFORM_INFO_BLOB_INVALID_SIG
	CodeServiceNotAvailable        Code = 27 // AESM_SERVICE_NOT_AVAILABLE: only in old daemons; removed since
	CodeKDFMismatch                Code = 28 // AESM_KDF_MISMATCH
	CodeOutOfEPC                   Code = 29 // AESM_OUT_OF_EPC: no EPC (Enclave Page Cache) for the quoting enclave
	CodeServiceUnavailable         Code = 30 // AESM_SERVICE_UNAVAILABLE: nothing serves this kind of request
	CodeUnrecognizedPlatform       Code = 31 // AESM_UNRECOGNIZED_PLATFORM
	CodeECDSAIDMismatch            Code = 32 // AESM_ECDSA_ID_MISMATCH
	CodePathnameBufferOverflow     Code = 33 // AESM_PATHNAME_BUFFER_OVERFLOW_ERROR
	CodeErrorStoredKey             Code = 34 // AESM_ERROR_STORED_KEY
	CodePubKeyIDMismatch           Code = 35 // AESM_PUB_KEY_ID_MISMATCH
	CodeInvalidPCESigScheme        Code = 36 // AESM_INVALID_PCE_SIG_SCHEME
	CodeAttKeyBlob                 Code = 37 // AESM_ATT_KEY_BLOB_ERROR
	CodeUnsupportedAttKeyID        Code = 38 // AESM_UNSUPPORTED_ATT_KEY_ID: not one of the keys of this daemon
	CodeUnsupportedLoadingPolicy   Code = 39 // AESM_UNSUPPORTED_LOADING_POLICY
	CodeInterfaceUnavailable       Code = 40 // AESM_INTERFACE_UNAVAILABLE
	CodePlatformLibUnavailable     Code = 41 // AESM_PLATFORM_LIB_UNAVAILABLE: no quote provider library
	CodeAttKeyNotInitialized       Code = 42 // AESM_ATT_KEY_NOT_INITIALIZED: the client must repeat InitQuoteEx
	CodeAttKeyCertDataInvalid      Code = 43 // AESM_ATT_KEY_CERT_DATA_INVALID: the PCK certificate chain is unusable
	CodeNoPlatformCertData         Code = 44 // AESM_NO_PLATFORM_CERT_DATA: the platform is not registered
	CodeErrorReport                Code = 45 // AESM_ERROR_REPORT
	CodeEnclaveLost                Code = 46 // AESM_ENCLAVE_LOST
	CodeInvalidReport              Code = 47 // AESM_INVALID_REPORT: the MAC of the report is wrong
	CodeEnclaveLoad                Code = 48 // AESM_ENCLAVE_LOAD_ERROR
	CodeUnableToGenerateQEReport   Code = 49 // AESM_UNABLE_TO_GENERATE_QE_REPORT
	CodeKeyCertification           Code = 50 // AESM_KEY_CERTIFICATION_ERROR
	CodeConfigUnsupported          Code = 51 // AESM_CONFIG_UNSUPPORTED
)

// codes holds the name of each code, which is that of aesm_error.h without AESM_ and
// _ERROR, and what to do about it, if anything is known to help.
var codes = [...]struct{ name, advice string }{
	CodeSuccess:                    {"SUCCESS", ""},
	CodeUnexpected:                 {"UNEXPECTED", "see the log of the quote helper for the cause"},
	CodeNoDevice:                   {"NO_DEVICE", "this machine has no usable SGX: check the BIOS setting and the kernel driver"},
	CodeParameter:                  {"PARAMETER", "a size or structure in the request is wrong, or the buffer is smaller than the quote: ask for the size again"},
	CodeEPIDBlob:                   {"EPIDBLOB", ""},
	CodeEPIDRevoked:                {"EPID_REVOKED", ""},
	CodeGetLicenseToken:            {"GET_LICENSETOKEN", "launch tokens are not served: use the in-kernel SGX driver, which needs none"},
	CodeSessionInvalid:             {"SESSION_INVALID", ""},
	CodeMaxNumSessionReached:       {"MAX_NUM_SESSION_REACHED", ""},
	CodePSDAUnavailable:            {"PSDA_UNAVAILABLE", ""},
	CodeEPHSessionFailed:           {"EPH_SESSION_FAILED", ""},
	CodeLongTermPairingFailed:      {"LONG_TERM_PAIRING_FAILED", ""},
	CodeNetwork:                    {"NETWORK", "the daemon failed to fetch the platform's certificates: check its PCCS address, proxy and TLS settings"},
	CodeNetworkBusy:                {"NETWORK_BUSY", "try again in a few seconds"},
	CodeProxySettingAssist:         {"PROXY_SETTING_ASSIST", "check the proxy settings of the daemon"},
	CodeFileAccess:                 {"FILE_ACCESS", "check that the daemon can write its data directory"},
	CodeSGXProvisionFailed:         {"SGX_PROVISION_FAILED", ""},
	CodeServiceStopped:             {"SERVICE_STOPPED", "the daemon is stopping: try again when it is back"},
	CodeBusy:                       {"BUSY", "the daemon is overloaded: try again in a second"},
	CodeBackendServerBusy:          {"BACKEND_SERVER_BUSY", "try again in a few seconds"},
	CodeUpdateAvailable:            {"UPDATE_AVAILABLE", "update the platform software"},
	CodeOutOfMemory:                {"OUT_OF_MEMORY", "raise the memory limit of the daemon"},
	CodeMsg:                        {"MSG", "the certificate service returned an unreadable answer: check the PCCS address of the daemon"},
	CodeThread:                     {"THREAD", ""},
	CodeSGXDeviceNotAvailable:      {"SGX_DEVICE_NOT_AVAILABLE", "check that the daemon has /dev/sgx_enclave and /dev/sgx_provision"},
	CodeEnableSGXDeviceFailed:      {"ENABLE_SGX_DEVICE_FAILED", "enable SGX in the BIOS"},
	CodePlatformInfoBlobInvalidSig: {"PLATFORM_INFO_BLOB_INVALID_SIG", ""},
	CodeServiceNotAvailable:        {"SERVICE_NOT_AVAILABLE", "the daemon does not serve this kind of request"},
	CodeKDFMismatch:                {"KDF_MISMATCH", ""},
	CodeOutOfEPC:                   {"OUT_OF_EPC", "no enclave memory is left for the quoting enclave: lower the EPC limits of the pods on this node"},
	CodeServiceUnavailable:         {"SERVICE_UNAVAILABLE", "the daemon does not serve this kind of request: use ECDSA (DCAP) attestation, and check that its backend has started"},
	CodeUnrecognizedPlatform:       {"UNRECOGNIZED_PLATFORM", "EPID attestation has been discontinued: use ECDSA (DCAP) attestation"},
	CodeECDSAIDMismatch:            {"ECDSA_ID_MISMATCH", ""},
	CodePathnameBufferOverflow:     {"PATHNAME_BUFFER_OVERFLOW", ""},
	CodeErrorStoredKey:             {"ERROR_STORED_KEY", "the stored attestation key is unreadable: remove it from the daemon's data directory"},
	CodePubKeyIDMismatch:           {"PUB_KEY_ID_MISMATCH", ""},
	CodeInvalidPCESigScheme:        {"INVALID_PCE_SIG_SCHEME", ""},
	CodeAttKeyBlob:                 {"ATT_KEY_BLOB", "the stored attestation key is damaged: remove it from the daemon's data directory"},
	CodeUnsupportedAttKeyID:        {"UNSUPPORTED_ATT_KEY_ID", "the daemon does not have this attestation key: select one that it supports"},
	CodeUnsupportedLoadingPolicy:   {"UNSUPPORTED_LOADING_POLICY", ""},
	CodeInterfaceUnavailable:       {"INTERFACE_UNAVAILABLE", "the quoting library of the daemon is too old or incomplete"},
	CodePlatformLibUnavailable:     {"PLATFORM_LIB_UNAVAILABLE", "the daemon did not find a quote provider library: install libdcap_quoteprov.so.1"},
	CodeAttKeyNotInitialized:       {"ATT_KEY_NOT_INITIALIZED", "repeat InitQuoteEx, make a new report for the target info it returns, and ask again"},
	CodeAttKeyCertDataInvalid:      {"ATT_KEY_CERT_DATA_INVALID", "the platform's certificates do not match it: refresh the PCCS or cache that they come from"},
	CodeNoPlatformCertData:         {"NO_PLATFORM_CERT_DATA", "the certificate service does not know the platform: register it, or add it to the PCCS"},
	CodeErrorReport:                {"ERROR_REPORT", ""},
	CodeEnclaveLost:                {"ENCLAVE_LOST", "the machine was suspended or moved: repeat InitQuoteEx"},
	CodeInvalidReport:              {"INVALID_REPORT", "the report was not made on this machine for the target info of InitQuoteEx: repeat InitQuoteEx and make a new one"},
	CodeEnclaveLoad:                {"ENCLAVE_LOAD", "loading the quoting enclave failed: check /dev/sgx_enclave, /dev/sgx_provision and the free EPC of the daemon"},
	CodeUnableToGenerateQEReport:   {"UNABLE_TO_GENERATE_QE_REPORT", "check the target info in qe_report_info"},
	CodeKeyCertification:           {"KEY_CERTIFICATION", "certifying the attestation key failed: see the log of the quote helper for the cause"},
	CodeConfigUnsupported:          {"CONFIG_UNSUPPORTED", ""},
}

// String returns the name of the code, for example ATT_KEY_NOT_INITIALIZED.
func (c Code) String() string {
	if int64(c) < int64(len(codes)) {
		return codes[c].name
	}
	return fmt.Sprintf("Code(%d)", uint32(c))
}

// Advice returns what to do about the code, "" if nothing is known to help.
func (c Code) Advice() string {
	if int64(c) < int64(len(codes)) {
		return codes[c].advice
	}
	return ""
}

// Error returns name, number and advice.
func (c Code) Error() string {
	text := fmt.Sprintf("%s (%d)", c.String(), uint32(c))
	if advice := c.Advice(); advice != "" {
		text += ": " + advice
	}
	return text
}

// codeOf returns the code for an error of a Handler: the Code that it is or wraps,
// CodeServiceStopped if it was cancelled, and otherwise CodeUnexpected. An error is
// never a success.
func codeOf(err error) Code {
	if err == nil {
		return CodeSuccess
	}
	if c, ok := errors.AsType[Code](err); ok && c != CodeSuccess {
		return c
	}
	if errors.Is(err, context.Canceled) {
		return CodeServiceStopped
	}
	return CodeUnexpected
}
