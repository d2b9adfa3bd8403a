package verifier_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/internal/cli/clitest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// The service takes quotes of all certification types: with certificates in the request, from a PCCS,
// or with those of the CAs in a file.
func TestServeCertificates(t *testing.T) {
	issuer, err := attesttest.NewIssuer("node-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	collateral, err := issuer.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := issuer.PCKChain()
	if err != nil {
		t.Fatal(err)
	}
	f := files{t, t.TempDir()}
	clitest.MustRun(t, "simulated", "root", "--out", f.path("root.pem"))
	f.write("policy.json", `{"anyEnclave": true}`)
	bundle, err := json.Marshal(collateral)
	if err != nil {
		t.Fatal(err)
	}
	f.write("collateral.json", string(bundle))
	pck := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[0].Raw})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sgx/certification/v4/pckcert", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("encrypted_ppid") != "" {
			http.Error(w, "unknown", http.StatusNotFound)
			return
		}
		w.Header().Set("SGX-PCK-Certificate-Issuer-Chain", url.PathEscape(collateral.PCKCRLIssuerChain))
		_, _ = w.Write(pck)
	})
	mux.Handle("/", attesttest.Handler(collateral))
	pccs := httptest.NewServer(mux)
	t.Cleanup(pccs.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	for _, source := range []string{pccs.URL, f.path("collateral.json")} {
		s := start(t, http.DefaultClient, "--root", f.path("root.pem"), "--policy", f.path("policy.json"), "--collateral", source)
		inFile := source != pccs.URL
		for _, kind := range []quote.CertificationDataType{quote.PPIDClear, quote.PPIDRSA2048, quote.PPIDRSA3072, quote.PCKLeaf, quote.PCKChain} {
			issuer.CertificationType = kind
			q, err := issuer.Quote(sgx.ReportBody{})
			if err != nil {
				t.Fatal(err)
			}
			data, err := q.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			known := kind == quote.PCKChain || kind == quote.PCKLeaf || !inFile && kind != quote.PPIDRSA3072
			for _, certificates := range []string{"", string(pck)} {
				request := map[string]any{"quote": data}
				if certificates != "" && kind != quote.PCKChain {
					request["certificates"] = certificates
				}
				body, err := json.Marshal(request)
				if err != nil {
					t.Fatal(err)
				}
				response, err := http.Post("http://"+s.address+"/v1/verify", "application/json", bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil {
					t.Fatal(err)
				}
				what := fmt.Sprintf("%s, collateral %s, certificates %t", kind, source, certificates != "")
				switch {
				case known || certificates != "":
					if response.StatusCode != 200 || !strings.HasPrefix(string(text), `{"trusted":true`) {
						t.Errorf("%s: %d, %s", what, response.StatusCode, text)
					}
				case response.StatusCode != 400 || !strings.Contains(string(text), "send the PCK certificate"):
					t.Errorf("%s: %d, %s", what, response.StatusCode, text)
				}
			}
		}
	}
}
