package quote3

import "github.com/confcom/confcom/aesm"

// entry returns what is known of an error. The AESM codes are those of Intel's
// daemon where it has one, and otherwise what its clients do the right thing for:
// all that is wrong with the way to the certificates is NETWORK. The errors that
// only a verification of quotes can have are here by their names.
func (e Error) entry() entry {
	switch e {
	case 0xe001:
		return entry{"SGX_QL_ERROR_UNEXPECTED", Other, aesm.CodeUnexpected, "", ""}
	case 0xe002:
		return entry{"SGX_QL_ERROR_INVALID_PARAMETER", Caller, aesm.CodeParameter, "", ""}
	case 0xe003:
		return entry{"SGX_QL_ERROR_OUT_OF_MEMORY", Other, aesm.CodeOutOfMemory, "", ""}
	case 0xe004:
		return entry{"SGX_QL_ERROR_ECDSA_ID_MISMATCH", Other, aesm.CodeECDSAIDMismatch, "", ""}
	case 0xe005:
		return entry{"SGX_QL_PATHNAME_BUFFER_OVERFLOW_ERROR", Deployment, aesm.CodePathnameBufferOverflow, "", ""}
	case 0xe006:
		return entry{"SGX_QL_FILE_ACCESS_ERROR", Deployment, aesm.CodeFileAccess, "check that the enclave files can be read", "enclaves"}
	case 0xe007:
		return entry{"SGX_QL_ERROR_STORED_KEY", Other, aesm.CodeErrorStoredKey, "", ""}
	case 0xe008:
		return entry{"SGX_QL_ERROR_PUB_KEY_ID_MISMATCH", Other, aesm.CodePubKeyIDMismatch, "", ""}
	case 0xe009:
		return entry{"SGX_QL_ERROR_INVALID_PCE_SIG_SCHEME", Other, aesm.CodeInvalidPCESigScheme, "", ""}
	case 0xe00a:
		return entry{"SGX_QL_ATT_KEY_BLOB_ERROR", Other, aesm.CodeAttKeyBlob, "", ""}
	case 0xe00b:
		return entry{"SGX_QL_UNSUPPORTED_ATT_KEY_ID", Deployment, aesm.CodeUnsupportedAttKeyID, "", ""}
	case 0xe00c:
		return entry{"SGX_QL_UNSUPPORTED_LOADING_POLICY", Other, aesm.CodeUnsupportedLoadingPolicy, "", ""}
	case 0xe00d:
		return entry{"SGX_QL_INTERFACE_UNAVAILABLE", Deployment, aesm.CodeInterfaceUnavailable, "the PCE could not be loaded: check that its enclave file is installed, and that the worker may use the provision device", "enclaves"}
	case 0xe00e:
		return entry{"SGX_QL_PLATFORM_LIB_UNAVAILABLE", Deployment, aesm.CodePlatformLibUnavailable, "there is no provider library: install libsgx-dcap-default-qpl, or az-dcap-client on Azure", "providers"}
	case 0xe00f:
		return entry{"SGX_QL_ATT_KEY_NOT_INITIALIZED", Reinit, aesm.CodeAttKeyNotInitialized, "", ""}
	case 0xe010:
		return entry{"SGX_QL_ATT_KEY_CERT_DATA_INVALID", Other, aesm.CodeAttKeyCertDataInvalid, "the provider has returned certificates that fit no quote: look into the log of the PCCS", "configuration"}
	case 0xe011:
		return entry{"SGX_QL_NO_PLATFORM_CERT_DATA", Reinit, aesm.CodeNoPlatformCertData, "the certificate service does not know this platform: register it, and look into the log of the PCCS", "network"}
	case 0xe012:
		return entry{"SGX_QL_OUT_OF_EPC", Transient, aesm.CodeOutOfEPC, "", ""}
	case 0xe013:
		return entry{"SGX_QL_ERROR_REPORT", Caller, aesm.CodeErrorReport, "", ""}
	case 0xe014:
		return entry{"SGX_QL_ENCLAVE_LOST", Broken, aesm.CodeEnclaveLost, "", ""}
	case 0xe015:
		return entry{"SGX_QL_INVALID_REPORT", Caller, aesm.CodeInvalidReport, "the report was made for another quoting enclave, on another machine, or before an update: the application must fetch the target info anew", ""}
	case 0xe016:
		return entry{"SGX_QL_ENCLAVE_LOAD_ERROR", Broken, aesm.CodeEnclaveLoad, "an enclave could not be loaded: check the enclave files, the devices, and that /dev is not mounted noexec", "enclaves"}
	case 0xe017:
		return entry{"SGX_QL_UNABLE_TO_GENERATE_QE_REPORT", Caller, aesm.CodeUnableToGenerateQEReport, "", ""}
	case 0xe018:
		return entry{"SGX_QL_KEY_CERTIFCATION_ERROR", Other, aesm.CodeKeyCertification, "the certificates are of a newer TCB than this platform has: look into the log of the PCCS", ""}
	case 0xe019:
		return entry{"SGX_QL_NETWORK_ERROR", Transient, aesm.CodeNetwork, "the certificate service cannot be reached: check its address, the proxy and TLS", "network"}
	case 0xe01a:
		return entry{"SGX_QL_MESSAGE_ERROR", Transient, aesm.CodeMsg, "the certificate service has answered something unreadable: check its address", "network"}
	case 0xe01b:
		return entry{name: "SGX_QL_NO_QUOTE_COLLATERAL_DATA", code: aesm.CodeUnexpected}
	case 0xe01c:
		return entry{name: "SGX_QL_QUOTE_CERTIFICATION_DATA_UNSUPPORTED", code: aesm.CodeUnexpected}
	case 0xe01d:
		return entry{name: "SGX_QL_QUOTE_FORMAT_UNSUPPORTED", code: aesm.CodeUnexpected}
	case 0xe01e:
		return entry{name: "SGX_QL_UNABLE_TO_GENERATE_REPORT", code: aesm.CodeUnexpected}
	case 0xe01f:
		return entry{name: "SGX_QL_QE_REPORT_INVALID_SIGNATURE", code: aesm.CodeUnexpected}
	case 0xe020:
		return entry{name: "SGX_QL_QE_REPORT_UNSUPPORTED_FORMAT", code: aesm.CodeUnexpected}
	case 0xe021:
		return entry{name: "SGX_QL_PCK_CERT_UNSUPPORTED_FORMAT", code: aesm.CodeUnexpected}
	case 0xe022:
		return entry{name: "SGX_QL_PCK_CERT_CHAIN_ERROR", code: aesm.CodeUnexpected}
	case 0xe023:
		return entry{name: "SGX_QL_TCBINFO_UNSUPPORTED_FORMAT", code: aesm.CodeUnexpected}
	case 0xe024:
		return entry{name: "SGX_QL_TCBINFO_MISMATCH", code: aesm.CodeUnexpected}
	case 0xe025:
		return entry{name: "SGX_QL_QEIDENTITY_UNSUPPORTED_FORMAT", code: aesm.CodeUnexpected}
	case 0xe026:
		return entry{name: "SGX_QL_QEIDENTITY_MISMATCH", code: aesm.CodeUnexpected}
	case 0xe027:
		return entry{name: "SGX_QL_TCB_OUT_OF_DATE", code: aesm.CodeUnexpected}
	case 0xe028:
		return entry{name: "SGX_QL_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED", code: aesm.CodeUnexpected}
	case 0xe029:
		return entry{name: "SGX_QL_SGX_ENCLAVE_IDENTITY_OUT_OF_DATE", code: aesm.CodeUnexpected}
	case 0xe02a:
		return entry{name: "SGX_QL_SGX_ENCLAVE_REPORT_ISVSVN_OUT_OF_DATE", code: aesm.CodeUnexpected}
	case 0xe02b:
		return entry{name: "SGX_QL_QE_IDENTITY_OUT_OF_DATE", code: aesm.CodeUnexpected}
	case 0xe02c:
		return entry{name: "SGX_QL_SGX_TCB_INFO_EXPIRED", code: aesm.CodeUnexpected}
	case 0xe02d:
		return entry{name: "SGX_QL_SGX_PCK_CERT_CHAIN_EXPIRED", code: aesm.CodeUnexpected}
	case 0xe02e:
		return entry{name: "SGX_QL_SGX_CRL_EXPIRED", code: aesm.CodeUnexpected}
	case 0xe02f:
		return entry{name: "SGX_QL_SGX_SIGNING_CERT_CHAIN_EXPIRED", code: aesm.CodeUnexpected}
	case 0xe030:
		return entry{name: "SGX_QL_SGX_ENCLAVE_IDENTITY_EXPIRED", code: aesm.CodeUnexpected}
	case 0xe031:
		return entry{name: "SGX_QL_PCK_REVOKED", code: aesm.CodeUnexpected}
	case 0xe032:
		return entry{name: "SGX_QL_TCB_REVOKED", code: aesm.CodeUnexpected}
	case 0xe033:
		return entry{name: "SGX_QL_TCB_CONFIGURATION_NEEDED", code: aesm.CodeUnexpected}
	case 0xe034:
		return entry{name: "SGX_QL_UNABLE_TO_GET_COLLATERAL", code: aesm.CodeUnexpected}
	case 0xe035:
		return entry{"SGX_QL_ERROR_INVALID_PRIVILEGE", Deployment, aesm.CodeSGXDeviceNotAvailable, "the worker may not use the provision device: it needs /dev/sgx_provision and the group of it", "devices"}
	case 0xe037:
		return entry{name: "SGX_QL_NO_QVE_IDENTITY_DATA", code: aesm.CodeUnexpected}
	case 0xe038:
		return entry{name: "SGX_QL_CRL_UNSUPPORTED_FORMAT", code: aesm.CodeUnexpected}
	case 0xe039:
		return entry{name: "SGX_QL_QEIDENTITY_CHAIN_ERROR", code: aesm.CodeUnexpected}
	case 0xe03a:
		return entry{name: "SGX_QL_TCBINFO_CHAIN_ERROR", code: aesm.CodeUnexpected}
	case 0xe03b:
		return entry{name: "SGX_QL_ERROR_QVL_QVE_MISMATCH", code: aesm.CodeUnexpected}
	case 0xe03c:
		return entry{name: "SGX_QL_TCB_SW_HARDENING_NEEDED", code: aesm.CodeUnexpected}
	case 0xe03d:
		return entry{name: "SGX_QL_TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED", code: aesm.CodeUnexpected}
	case 0xe03e:
		return entry{"SGX_QL_UNSUPPORTED_MODE", Deployment, aesm.CodeUnexpected, "SGX_AESM_ADDR is set for the library: it must not be", "environment"}
	case 0xe03f:
		return entry{"SGX_QL_NO_DEVICE", Deployment, aesm.CodeNoDevice, "there is no SGX device for the worker", "devices"}
	case 0xe040:
		return entry{"SGX_QL_SERVICE_UNAVAILABLE", Transient, aesm.CodeNetwork, "the certificate service is there but does not work: look into its log", "network"}
	case 0xe041:
		return entry{"SGX_QL_NETWORK_FAILURE", Transient, aesm.CodeNetwork, "the certificate service cannot be reached", "network"}
	case 0xe042:
		return entry{"SGX_QL_SERVICE_TIMEOUT", Transient, aesm.CodeNetwork, "the certificate service is slow", "network"}
	case 0xe043:
		return entry{"SGX_QL_ERROR_BUSY", Transient, aesm.CodeBusy, "", ""}
	case 0xe044:
		return entry{"SGX_QL_UNKNOWN_MESSAGE_RESPONSE", Other, aesm.CodeUnexpected, "the certificate service has answered with an error: its log says why", "network"}
	case 0xe045:
		return entry{"SGX_QL_PERSISTENT_STORAGE_ERROR", Other, aesm.CodeUnexpected, "", ""}
	case 0xe046:
		return entry{"SGX_QL_ERROR_MESSAGE_PARSING_ERROR", Other, aesm.CodeUnexpected, "the certificate service has answered something unreadable: check its address", "network"}
	case 0xe047:
		return entry{"SGX_QL_PLATFORM_UNKNOWN", Deployment, aesm.CodeUnexpected, "the certificate service does not know this platform: register it (PCKIDRetrievalTool, or mpa_manage on multi-package machines)", "network"}
	case 0xe048:
		return entry{"SGX_QL_UNKNOWN_API_VERSION", Deployment, aesm.CodeUnexpected, "pccs_api_version in the configuration of the provider is wrong", "configuration"}
	case 0xe049:
		return entry{"SGX_QL_CERTS_UNAVAILABLE", Deployment, aesm.CodeUnexpected, "Intel has no certificates for this platform at its TCB: register it again, and look into the log of the PCCS", "network"}
	case 0xe050:
		return entry{name: "SGX_QL_QVEIDENTITY_MISMATCH", code: aesm.CodeUnexpected}
	case 0xe051:
		return entry{name: "SGX_QL_QVE_OUT_OF_DATE", code: aesm.CodeUnexpected}
	case 0xe052:
		return entry{"SGX_QL_PSW_NOT_AVAILABLE", Deployment, aesm.CodeUnexpected, "a library of the platform software is missing: install libsgx-urts", "libraries"}
	case 0xe053:
		return entry{name: "SGX_QL_COLLATERAL_VERSION_NOT_SUPPORTED", code: aesm.CodeUnexpected}
	case 0xe060:
		return entry{name: "SGX_QL_TDX_MODULE_MISMATCH", code: aesm.CodeUnexpected}
	case 0xe061:
		return entry{name: "SGX_QL_QEIDENTITY_NOT_FOUND", code: aesm.CodeUnexpected}
	case 0xe062:
		return entry{name: "SGX_QL_TCBINFO_NOT_FOUND", code: aesm.CodeUnexpected}
	case 0xe063:
		return entry{"SGX_QL_INTERNAL_SERVER_ERROR", Transient, aesm.CodeNetwork, "the certificate service has failed: look into its log", "network"}
	case 0xe064:
		return entry{name: "SGX_QL_SUPPLEMENTAL_DATA_VERSION_NOT_SUPPORTED", code: aesm.CodeUnexpected}
	case 0xe065:
		return entry{"SGX_QL_ROOT_CA_UNTRUSTED", Deployment, aesm.CodeUnexpected, "the TLS certificate of the certificate service is not trusted: install its CA, or set use_secure_cert to false for one that is self-signed", "network"}
	case 0xe066:
		return entry{name: "SGX_QL_TCB_NOT_SUPPORTED", code: aesm.CodeUnexpected}
	case 0xe067:
		return entry{"SGX_QL_CONFIG_INVALID_JSON", Deployment, aesm.CodeUnexpected, "the configuration of the provider is no valid JSON", "configuration"}
	case 0xe068:
		return entry{name: "SGX_QL_RESULT_INVALID_SIGNATURE", code: aesm.CodeUnexpected}
	case 0xe070:
		return entry{name: "SGX_QL_QAEIDENTITY_MISMATCH", code: aesm.CodeUnexpected}
	case 0xe071:
		return entry{name: "SGX_QL_QAE_OUT_OF_DATE", code: aesm.CodeUnexpected}
	case 0xe072:
		return entry{name: "SGX_QL_QUOTE_HASH_MISMATCH", code: aesm.CodeUnexpected}
	case 0xe073:
		return entry{name: "SGX_QL_REPORT_DATA_MISMATCH", code: aesm.CodeUnexpected}
	}
	return entry{name: "unknown", code: aesm.CodeUnexpected}
}
