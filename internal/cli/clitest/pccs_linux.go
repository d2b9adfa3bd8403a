package clitest

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/confcom/confcom/internal/backend/simulated"
)

// ServePCCS runs a PCCS with the collateral of simulated platforms until the test ends,
// and returns its URL.
func ServePCCS(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(PCCS(t))
	t.Cleanup(server.Close)
	return server.URL
}

// PCCS returns the handler of such a PCCS.
func PCCS(t testing.TB) http.Handler {
	t.Helper()
	c, err := simulated.NewCollateral(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	files := simulated.Files(c)
	return http.StripPrefix("/sgx/certification/v4/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, part := range []struct{ path, file, header, chain string }{
			{"rootcacrl", "root_ca_crl.der", "", ""},
			{"pckcrl", "pck_crl.der", "SGX-PCK-CRL-Issuer-Chain", c.PCKCRLIssuerChain},
			{"tcb", "tcb_info.json", "SGX-TCB-Info-Issuer-Chain", c.TCBInfoIssuerChain},
			{"qe/identity", "qe_identity.json", "SGX-Enclave-Identity-Issuer-Chain", c.QEIdentityIssuerChain},
		} {
			if r.URL.Path == part.path {
				w.Header().Set(part.header, url.PathEscape(part.chain))
				w.Write(files[part.file])
				return
			}
		}
		http.NotFound(w, r)
	}))
}
