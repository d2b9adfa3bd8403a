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

const (
	askOperator = "ask the operator of the node, whose confcom doctor and log of the daemon have the cause"
	noEPID      = "EPID attestation has been discontinued: use ECDSA (DCAP) attestation"
	clientIsOld = "none needed: the client is of the time of EPID attestation"
)

// codes holds the name of each code, which is that of aesm_error.h without AESM_ and
// _ERROR, and what to do about it, if anything is known to help: in the client, and where
// the daemon runs.
var codes = [...]struct{ name, client, operator string }{
	CodeSuccess: {"SUCCESS", "", ""},
	CodeUnexpected: {"UNEXPECTED",
		askOperator,
		"see the log of the daemon for the cause"},
	CodeNoDevice: {"NO_DEVICE",
		askOperator,
		"the daemon has no usable SGX device: check the BIOS setting, the kernel driver and the devices of its container"},
	CodeParameter: {"PARAMETER",
		"a size or structure in the request is wrong, or the buffer is smaller than the quote: ask for the size again",
		"none needed, unless all clients get it: the request is wrong"},
	CodeEPIDBlob: {"EPIDBLOB",
		noEPID,
		clientIsOld},
	CodeEPIDRevoked: {"EPID_REVOKED",
		noEPID,
		clientIsOld},
	CodeGetLicenseToken: {"GET_LICENSETOKEN",
		"launch tokens are not served: use an SDK that needs none, for the in-kernel SGX driver",
		clientIsOld},
	CodeSessionInvalid:        {"SESSION_INVALID", "", ""},
	CodeMaxNumSessionReached:  {"MAX_NUM_SESSION_REACHED", "", ""},
	CodePSDAUnavailable:       {"PSDA_UNAVAILABLE", "", ""},
	CodeEPHSessionFailed:      {"EPH_SESSION_FAILED", "", ""},
	CodeLongTermPairingFailed: {"LONG_TERM_PAIRING_FAILED", "", ""},
	CodeNetwork: {"NETWORK",
		"the daemon has not got the certificates of this node: try again in a minute, then " + askOperator,
		"fetching the platform's certificates failed: check the PCCS address, proxy and TLS settings of the daemon"},
	CodeNetworkBusy: {"NETWORK_BUSY",
		"try again in a few seconds",
		"the certificate service is overloaded: see its log"},
	CodeProxySettingAssist: {"PROXY_SETTING_ASSIST",
		askOperator,
		"check the proxy settings of the daemon"},
	CodeFileAccess: {"FILE_ACCESS",
		askOperator,
		"check that the daemon can read the enclave files and write its data directory"},
	CodeSGXProvisionFailed: {"SGX_PROVISION_FAILED",
		noEPID,
		clientIsOld},
	CodeServiceStopped: {"SERVICE_STOPPED",
		"the daemon is stopping: try again when it is back",
		"none needed, if the daemon was meant to stop"},
	CodeBusy: {"BUSY",
		"the daemon is overloaded: try again in a second",
		"clients ask for more quotes than this node can make, or the daemon is stalled: see its log"},
	CodeBackendServerBusy: {"BACKEND_SERVER_BUSY",
		"try again in a few seconds",
		"the certificate service is overloaded: see its log"},
	CodeUpdateAvailable: {"UPDATE_AVAILABLE",
		askOperator,
		"update the platform software"},
	CodeOutOfMemory: {"OUT_OF_MEMORY",
		askOperator,
		"raise the memory limit of the daemon"},
	CodeMsg: {"MSG",
		askOperator,
		"the certificate service returned an unreadable answer: check the PCCS address of the daemon, and the proxy in between"},
	CodeThread: {"THREAD",
		askOperator,
		"see the log of the daemon for the cause"},
	CodeSGXDeviceNotAvailable: {"SGX_DEVICE_NOT_AVAILABLE",
		askOperator,
		"check that the daemon has /dev/sgx_enclave and /dev/sgx_provision and may open them: their owner, mode and group"},
	CodeEnableSGXDeviceFailed: {"ENABLE_SGX_DEVICE_FAILED",
		askOperator,
		"enable SGX in the BIOS"},
	CodePlatformInfoBlobInvalidSig: {"PLATFORM_INFO_BLOB_INVALID_SIG",
		noEPID,
		clientIsOld},
	CodeServiceNotAvailable: {"SERVICE_NOT_AVAILABLE",
		"the daemon does not serve this kind of request",
		"the daemon is old: update it"},
	CodeKDFMismatch: {"KDF_MISMATCH", "", ""},
	CodeOutOfEPC: {"OUT_OF_EPC",
		"no enclave memory is left on this node: try again, then " + askOperator,
		"no enclave memory is left for the quoting enclave: lower the EPC limits of the pods on this node, or reserve EPC"},
	CodeServiceUnavailable: {"SERVICE_UNAVAILABLE",
		"if all requests get it, the daemon cannot make quotes: " + askOperator + "; otherwise the request is of a kind that it does not serve, such as EPID: use ECDSA (DCAP) attestation",
		"what makes the quotes is not there or has not started: see the log of the daemon"},
	CodeUnrecognizedPlatform: {"UNRECOGNIZED_PLATFORM",
		noEPID,
		clientIsOld},
	CodeECDSAIDMismatch: {"ECDSA_ID_MISMATCH",
		askOperator,
		"the library and the enclaves of the daemon are of different releases: install those of one release"},
	CodePathnameBufferOverflow: {"PATHNAME_BUFFER_OVERFLOW",
		askOperator,
		"a path of the daemon has more than 259 characters: shorten it"},
	CodeErrorStoredKey: {"ERROR_STORED_KEY",
		askOperator,
		"the stored attestation key is unreadable: remove it from the daemon's data directory"},
	CodePubKeyIDMismatch: {"PUB_KEY_ID_MISMATCH",
		askOperator,
		"see the log of the daemon for the cause"},
	CodeInvalidPCESigScheme: {"INVALID_PCE_SIG_SCHEME",
		askOperator,
		"the library and the enclaves of the daemon are of different releases: install those of one release"},
	CodeAttKeyBlob: {"ATT_KEY_BLOB",
		askOperator,
		"the stored attestation key is damaged: remove it from the daemon's data directory"},
	CodeUnsupportedAttKeyID: {"UNSUPPORTED_ATT_KEY_ID",
		"the daemon does not have this attestation key: select one that it supports, ECDSA with P-256",
		"if all clients get it, the daemon has no key: check that its quoting enclave and its ID enclave are installed and can be loaded"},
	CodeUnsupportedLoadingPolicy: {"UNSUPPORTED_LOADING_POLICY",
		askOperator,
		"see the log of the daemon for the cause"},
	CodeInterfaceUnavailable: {"INTERFACE_UNAVAILABLE",
		askOperator,
		"the provisioning certification enclave (PCE) could not be loaded: check in this order the SGX devices, the permission to open them, that /dev is not mounted noexec, and the libraries and enclave files"},
	CodePlatformLibUnavailable: {"PLATFORM_LIB_UNAVAILABLE",
		askOperator,
		"the daemon did not find a quote provider library: install libdcap_quoteprov.so.1"},
	CodeAttKeyNotInitialized: {"ATT_KEY_NOT_INITIALIZED",
		"repeat InitQuoteEx, make a new report for the target info it returns, and ask again",
		"none needed: clients get a new target info after an update of the quoting enclave"},
	CodeAttKeyCertDataInvalid: {"ATT_KEY_CERT_DATA_INVALID",
		askOperator,
		"the platform's certificates do not match it: refresh the PCCS or cache that they come from"},
	CodeNoPlatformCertData: {"NO_PLATFORM_CERT_DATA",
		askOperator,
		"the certificate service does not know the platform, or has no certificate for its TCB: register it, or add it to the PCCS"},
	CodeErrorReport: {"ERROR_REPORT",
		"the report is malformed: make a new one for the target info of InitQuoteEx",
		"none needed: the client's report is wrong"},
	CodeEnclaveLost: {"ENCLAVE_LOST",
		"the machine was suspended or moved: repeat InitQuoteEx",
		"if it stays, restart the daemon: its enclaves were lost when the machine was suspended or moved"},
	CodeInvalidReport: {"INVALID_REPORT",
		"the report was not made on this machine for the target info of InitQuoteEx: repeat InitQuoteEx and make a new one",
		"none needed: the client's report is wrong"},
	CodeEnclaveLoad: {"ENCLAVE_LOAD",
		askOperator,
		"loading the quoting enclave failed: check the enclave files, /dev/sgx_enclave, /dev/sgx_provision, that /dev is not mounted noexec, and the free EPC"},
	CodeUnableToGenerateQEReport: {"UNABLE_TO_GENERATE_QE_REPORT",
		"check the target info in qe_report_info",
		"none needed: the client's request is wrong"},
	CodeKeyCertification: {"KEY_CERTIFICATION",
		askOperator,
		"certifying the attestation key failed, often because the certificates are for another TCB than this platform has: see the log of the daemon"},
	CodeConfigUnsupported: {"CONFIG_UNSUPPORTED", "", ""},
}

// String returns the name of the code, for example ATT_KEY_NOT_INITIALIZED.
func (c Code) String() string {
	if int64(c) < int64(len(codes)) {
		return codes[c].name
	}
	return fmt.Sprintf("Code(%d)", uint32(c))
}

// Advice returns what the author or user of a client can do about the code, "" if nothing
// is known to help.
func (c Code) Advice() string {
	if int64(c) < int64(len(codes)) {
		return codes[c].client
	}
	return ""
}

// OperatorAdvice returns what the operator of the daemon can do about the code, "" if
// nothing is known to help.
func (c Code) OperatorAdvice() string {
	if int64(c) < int64(len(codes)) {
		return codes[c].operator
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
