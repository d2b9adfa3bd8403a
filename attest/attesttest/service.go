package attesttest

import (
	"net/http"
	"net/url"

	"github.com/confcom/confcom/attest"
)

// Handler returns a handler that serves collateral as Intel's service does (PCS API v4, below
// /sgx/certification/v4/), and under the paths of a PCCS and of Azure's cache. TCB info and QE
// identity for TDX are below /tdx/certification/v4/. It ignores which platforms a request is for.
func Handler(c *attest.Collateral) http.Handler {
	serve := func(body []byte, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], url.PathEscape(headers[i+1]))
			}
			_, _ = w.Write(body) // the client has gone
		}
	}
	rootCRL, pckCRL := serve(c.RootCRL), serve(c.PCKCRL, "SGX-PCK-CRL-Issuer-Chain", c.PCKCRLIssuerChain)
	mux := http.NewServeMux()
	const base = "GET /sgx/certification/v4/"
	mux.Handle(base+"rootcacrl", rootCRL)
	mux.HandleFunc(base+"pckcrl", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("uri") == "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der" { // Azure's cache
			rootCRL(w, r)
			return
		}
		pckCRL(w, r)
	})
	tee := base
	if isTDX(c) {
		tee = "GET /tdx/certification/v4/"
	}
	mux.Handle(tee+"tcb", serve(signedTCBInfo(c), "TCB-Info-Issuer-Chain", c.TCBInfoIssuerChain))
	mux.Handle(tee+"qe/identity", serve(signedQEIdentity(c), "SGX-Enclave-Identity-Issuer-Chain", c.QEIdentityIssuerChain))
	return mux
}
