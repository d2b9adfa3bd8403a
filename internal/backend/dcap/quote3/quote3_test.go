package quote3

import (
	"testing"

	"github.com/confcom/confcom/aesm"
)

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		code  Error
		text  string
		class Class
		aesm  aesm.Code
	}{
		{Unexpected, "SGX_QL_ERROR_UNEXPECTED (0xe001)", Other, aesm.CodeUnexpected},
		{InvalidParameter, "SGX_QL_ERROR_INVALID_PARAMETER (0xe002)", Caller, aesm.CodeParameter},
		{PlatformLibUnavailable, "SGX_QL_PLATFORM_LIB_UNAVAILABLE (0xe00e)", Deployment, aesm.CodePlatformLibUnavailable},
		{AttKeyNotInitialized, "SGX_QL_ATT_KEY_NOT_INITIALIZED (0xe00f)", Reinit, aesm.CodeAttKeyNotInitialized},
		{NoPlatformCertData, "SGX_QL_NO_PLATFORM_CERT_DATA (0xe011)", Reinit, aesm.CodeNoPlatformCertData},
		{EnclaveLost, "SGX_QL_ENCLAVE_LOST (0xe014)", Broken, aesm.CodeEnclaveLost},
		{InvalidReport, "SGX_QL_INVALID_REPORT (0xe015)", Caller, aesm.CodeInvalidReport},
		{NetworkError, "SGX_QL_NETWORK_ERROR (0xe019)", Transient, aesm.CodeNetwork},
		{InvalidPrivilege, "SGX_QL_ERROR_INVALID_PRIVILEGE (0xe035)", Deployment, aesm.CodeSGXDeviceNotAvailable},
		{0xe047, "SGX_QL_PLATFORM_UNKNOWN (0xe047)", Deployment, aesm.CodeNoPlatformCertData},
		{0xe0fe, "unknown (0xe0fe)", Other, aesm.CodeUnexpected},
	} {
		if c.code.Error() != c.text || c.code.Class() != c.class || c.code.AESM() != c.aesm {
			t.Errorf("%v: class %d, AESM %v; want %s, %d, %v", c.code, c.code.Class(), c.code.AESM(), c.text, c.class, c.aesm)
		}
	}
	for code, want := range map[uint32]bool{0: false, 42: false, 0xe000: false, 0xe001: true, 0xe0ff: true, 0xe100: false} {
		if Known(code) != want {
			t.Errorf("Known(%#x) is not %t", code, want)
		}
	}
}

// An error that concerns the certificates, the configuration or what is installed
// reaches clients as such.
func TestCauses(t *testing.T) {
	for code := first; code <= last; code++ {
		if code.Check() != "" && code.AESM() == aesm.CodeUnexpected {
			t.Errorf("%v has the cause %q, but clients get %v", code, code.Check(), code.AESM())
		}
	}
}
