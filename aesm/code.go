package aesm

import (
	"context"
	"errors"
	"fmt"
)

// Code is the errorCode of an AESM reply, with the numbers of aesm_error.h. It
// is an error: a Handler returns one, or an error that wraps one, to choose the
// code that the client gets.
type Code uint32

// The codes. The comments say who returns them today; the others date from EPID
// and the platform services.
const (
	CodeSuccess                    Code = 0
	CodeUnexpected                 Code = 1 // anything without a code of its own
	CodeNoDevice                   Code = 2
	CodeParameter                  Code = 3 // a size or a structure in the request is wrong
	CodeEPIDBlob                   Code = 4
	CodeEPIDRevoked                Code = 5
	CodeGetLicenseToken            Code = 6
	CodeSessionInvalid             Code = 7
	CodeMaxNumSessionReached       Code = 8
	CodePSDAUnavailable            Code = 9
	CodeEPHSessionFailed           Code = 10
	CodeLongTermPairingFailed      Code = 11
	CodeNetwork                    Code = 12 // certificates could not be fetched
	CodeNetworkBusy                Code = 13
	CodeProxySettingAssist         Code = 14
	CodeFileAccess                 Code = 15
	CodeSGXProvisionFailed         Code = 16
	CodeServiceStopped             Code = 17
	CodeBusy                       Code = 18 // overload: try again
	CodeBackendServerBusy          Code = 19
	CodeUpdateAvailable            Code = 20
	CodeOutOfMemory                Code = 21
	CodeMsg                        Code = 22
	CodeThread                     Code = 23
	CodeSGXDeviceNotAvailable      Code = 24
	CodeEnableSGXDeviceFailed      Code = 25
	CodePlatformInfoBlobInvalidSig Code = 26
	CodeServiceNotAvailable        Code = 27 // only in old daemons
	CodeKDFMismatch                Code = 28
	CodeOutOfEPC                   Code = 29 // no enclave memory for the quoting enclave
	CodeServiceUnavailable         Code = 30 // nothing serves this kind of request
	CodeUnrecognizedPlatform       Code = 31
	CodeECDSAIDMismatch            Code = 32
	CodePathnameBufferOverflow     Code = 33
	CodeErrorStoredKey             Code = 34
	CodePubKeyIDMismatch           Code = 35
	CodeInvalidPCESigScheme        Code = 36
	CodeAttKeyBlob                 Code = 37
	CodeUnsupportedAttKeyID        Code = 38 // not one of the keys of this daemon
	CodeUnsupportedLoadingPolicy   Code = 39
	CodeInterfaceUnavailable       Code = 40
	CodePlatformLibUnavailable     Code = 41 // no quote provider library
	CodeAttKeyNotInitialized       Code = 42 // the client must repeat InitQuoteEx
	CodeAttKeyCertDataInvalid      Code = 43 // the PCK certificate chain is of no use
	CodeNoPlatformCertData         Code = 44 // the platform is not registered
	CodeErrorReport                Code = 45
	CodeEnclaveLost                Code = 46
	CodeInvalidReport              Code = 47 // the MAC of the report is wrong
	CodeEnclaveLoad                Code = 48
	CodeUnableToGenerateQEReport   Code = 49
	CodeKeyCertification           Code = 50
	CodeConfigUnsupported          Code = 51
)

// entry is what is known of a code: its name in aesm_error.h without the
// prefix AESM_ and, where there is something to do, what.
func (c Code) entry() (name, advice string) {
	switch c {
	case CodeSuccess:
		return "SUCCESS", ""
	case CodeUnexpected:
		return "UNEXPECTED", "the cause is in the log of the quote helper"
	case CodeNoDevice:
		return "NO_DEVICE", "this machine has no usable SGX: check the BIOS setting and the kernel driver"
	case CodeParameter:
		return "PARAMETER", "a size or structure in the request is wrong, or the buffer is smaller than the quote: ask for the size again"
	case CodeEPIDBlob:
		return "EPIDBLOB", ""
	case CodeEPIDRevoked:
		return "EPID_REVOKED", ""
	case CodeGetLicenseToken:
		return "GET_LICENSETOKEN", "launch tokens are not served: use the in-kernel SGX driver, which needs none"
	case CodeSessionInvalid:
		return "SESSION_INVALID", ""
	case CodeMaxNumSessionReached:
		return "MAX_NUM_SESSION_REACHED", ""
	case CodePSDAUnavailable:
		return "PSDA_UNAVAILABLE", ""
	case CodeEPHSessionFailed:
		return "EPH_SESSION_FAILED", ""
	case CodeLongTermPairingFailed:
		return "LONG_TERM_PAIRING_FAILED", ""
	case CodeNetwork:
		return "NETWORK", "the daemon could not fetch the platform's certificates: check its PCCS address, proxy and TLS settings"
	case CodeNetworkBusy:
		return "NETWORK_BUSY", "try again in a few seconds"
	case CodeProxySettingAssist:
		return "PROXY_SETTING_ASSIST", "check the proxy settings of the daemon"
	case CodeFileAccess:
		return "FILE_ACCESS", "check that the daemon can write its data directory"
	case CodeSGXProvisionFailed:
		return "SGX_PROVISION_FAILED", ""
	case CodeServiceStopped:
		return "SERVICE_STOPPED", "the daemon is stopping: try again when it is back"
	case CodeBusy:
		return "BUSY", "the daemon is overloaded: try again in a second"
	case CodeBackendServerBusy:
		return "BACKEND_SERVER_BUSY", "try again in a few seconds"
	case CodeUpdateAvailable:
		return "UPDATE_AVAILABLE", "update the platform software"
	case CodeOutOfMemory:
		return "OUT_OF_MEMORY", "raise the memory limit of the daemon"
	case CodeMsg:
		return "MSG", "the certificate service answered with something unreadable: check the PCCS address of the daemon"
	case CodeThread:
		return "THREAD", ""
	case CodeSGXDeviceNotAvailable:
		return "SGX_DEVICE_NOT_AVAILABLE", "check that the daemon has /dev/sgx_enclave and /dev/sgx_provision"
	case CodeEnableSGXDeviceFailed:
		return "ENABLE_SGX_DEVICE_FAILED", "enable SGX in the BIOS"
	case CodePlatformInfoBlobInvalidSig:
		return "PLATFORM_INFO_BLOB_INVALID_SIG", ""
	case CodeServiceNotAvailable:
		return "SERVICE_NOT_AVAILABLE", "the daemon does not serve this kind of request"
	case CodeKDFMismatch:
		return "KDF_MISMATCH", ""
	case CodeOutOfEPC:
		return "OUT_OF_EPC", "no enclave memory is left for the quoting enclave: lower the EPC limits of the pods on this node"
	case CodeServiceUnavailable:
		return "SERVICE_UNAVAILABLE", "the daemon does not serve this kind of request: use ECDSA (DCAP) attestation, and check that its backend has started"
	case CodeUnrecognizedPlatform:
		return "UNRECOGNIZED_PLATFORM", "EPID attestation is gone: use ECDSA (DCAP) attestation"
	case CodeECDSAIDMismatch:
		return "ECDSA_ID_MISMATCH", ""
	case CodePathnameBufferOverflow:
		return "PATHNAME_BUFFER_OVERFLOW", ""
	case CodeErrorStoredKey:
		return "ERROR_STORED_KEY", "the stored attestation key is unreadable: remove it from the daemon's data directory"
	case CodePubKeyIDMismatch:
		return "PUB_KEY_ID_MISMATCH", ""
	case CodeInvalidPCESigScheme:
		return "INVALID_PCE_SIG_SCHEME", ""
	case CodeAttKeyBlob:
		return "ATT_KEY_BLOB", "the stored attestation key is damaged: remove it from the daemon's data directory"
	case CodeUnsupportedAttKeyID:
		return "UNSUPPORTED_ATT_KEY_ID", "the daemon has no such attestation key: select one of those it supports"
	case CodeUnsupportedLoadingPolicy:
		return "UNSUPPORTED_LOADING_POLICY", ""
	case CodeInterfaceUnavailable:
		return "INTERFACE_UNAVAILABLE", "the quoting library of the daemon is too old or incomplete"
	case CodePlatformLibUnavailable:
		return "PLATFORM_LIB_UNAVAILABLE", "the daemon finds no quote provider library: install libdcap_quoteprov.so.1"
	case CodeAttKeyNotInitialized:
		return "ATT_KEY_NOT_INITIALIZED", "repeat InitQuoteEx, make a new report for the target info it returns, and ask again"
	case CodeAttKeyCertDataInvalid:
		return "ATT_KEY_CERT_DATA_INVALID", "the platform's certificates do not fit it: refresh the PCCS or cache they come from"
	case CodeNoPlatformCertData:
		return "NO_PLATFORM_CERT_DATA", "the platform is unknown to the certificate service: register it, or add it to the PCCS"
	case CodeErrorReport:
		return "ERROR_REPORT", ""
	case CodeEnclaveLost:
		return "ENCLAVE_LOST", "the machine slept or was moved: repeat InitQuoteEx"
	case CodeInvalidReport:
		return "INVALID_REPORT", "the report was not made on this machine for the target info of InitQuoteEx: repeat InitQuoteEx and make a new one"
	case CodeEnclaveLoad:
		return "ENCLAVE_LOAD", "the quoting enclave did not load: check /dev/sgx_enclave, /dev/sgx_provision and free EPC of the daemon"
	case CodeUnableToGenerateQEReport:
		return "UNABLE_TO_GENERATE_QE_REPORT", "check the target info in qe_report_info"
	case CodeKeyCertification:
		return "KEY_CERTIFICATION", "the attestation key could not be certified: the cause is in the log of the quote helper"
	case CodeConfigUnsupported:
		return "CONFIG_UNSUPPORTED", ""
	}
	return fmt.Sprintf("Code(%d)", uint32(c)), ""
}

// String returns the name of the code in aesm_error.h without its prefix, for
// example ATT_KEY_NOT_INITIALIZED.
func (c Code) String() string {
	name, _ := c.entry()
	return name
}

// Advice says in words what to do, or nothing where nothing is known to help.
func (c Code) Advice() string {
	_, advice := c.entry()
	return advice
}

// Error returns name, number and advice.
func (c Code) Error() string {
	name, advice := c.entry()
	text := fmt.Sprintf("%s (%d)", name, uint32(c))
	if advice != "" {
		text += ": " + advice
	}
	return text
}

// codeOf translates the error of a handler: the Code that it is or wraps,
// CodeServiceStopped where it was cut off, and otherwise CodeUnexpected. An error
// is never a success.
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
