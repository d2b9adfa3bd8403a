package pcs_test

import (
	"context"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

var _ verify.CertificateSource = (*pcs.Client)(nil)

// A client gets the certificates that a quote lacks.
func TestCertificatesFor(t *testing.T) {
	issuer, err := attesttest.NewIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	chain, err := issuer.PCKChain()
	if err != nil {
		t.Fatal(err)
	}
	collateral, err := issuer.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	var requests []url.Values
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sgx/certification/v4/pckcert", func(w http.ResponseWriter, r *http.Request) {
		requests = append(requests, r.URL.Query())
		w.Header().Set("SGX-PCK-Certificate-Issuer-Chain", url.PathEscape(collateral.PCKCRLIssuerChain))
		_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: chain[0].Raw})
	})
	mux.Handle("/", attesttest.Handler(collateral))
	server := httptest.NewServer(mux)
	defer server.Close()
	service, err := pcs.PCCS(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []quote.CertificationDataType{quote.PPIDClear, quote.PPIDRSA2048, quote.PPIDRSA3072, quote.PCKLeaf} {
		t.Run(kind.String(), func(t *testing.T) {
			client := &pcs.Client{Service: service, Roots: []attest.Root{root}, HTTP: server.Client()}
			defer client.Close()
			issuer.CertificationType, requests = kind, nil
			q, err := issuer.Quote(sgx.ReportBody{})
			if err != nil {
				t.Fatal(err)
			}
			data, err := q.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			v := &verify.Verifier{Roots: []attest.Root{root}, Source: collateral, Certificates: client, Now: attesttest.Today}
			for range 2 { // the second time from memory
				if _, err := v.Verify(t.Context(), data, attest.Policy{AnyEnclave: true}); err != nil {
					t.Fatal(err)
				}
			}
			if kind == quote.PCKLeaf {
				if len(requests) != 0 {
					t.Errorf("requested the certificate that the quote has: %v", requests)
				}
				return
			}
			if len(requests) != 1 {
				t.Fatalf("%d requests", len(requests))
			}
			id, err := q.Signature.CertificationData.PlatformID()
			if err != nil {
				t.Fatal(err)
			}
			want := url.Values{"cpusvn": {hex.EncodeToString(id.CPUSVN[:])}, "pcesvn": {"0d00"}, "pceid": {"0000"}, "qeid": {hex.EncodeToString(q.Header.UserData[:16])}}
			if kind == quote.PPIDRSA3072 {
				want.Set("encrypted_ppid", hex.EncodeToString(id.PPID))
			}
			if got := requests[0].Encode(); got != want.Encode() {
				t.Errorf("request %s, want %s", got, want.Encode())
			}
		})
	}
}

// Intel's service knows platforms by one kind of PPID, and Azure's cache by none.
func TestNoCertificates(t *testing.T) {
	azure, err := pcs.Azure("")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := attesttest.NewIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		service pcs.Service
		kind    quote.CertificationDataType
		want    string
	}{
		{pcs.Intel(), quote.PPIDClear, "knows platforms by"},
		{pcs.Intel(), quote.PPIDRSA2048, "knows platforms by"},
		{azure, quote.PPIDRSA3072, "Azure's cache has no PCK certificates"},
		{pcs.Service{}, quote.PPIDRSA3072, "Client.Service is not set"},
	} {
		issuer.CertificationType = c.kind
		q, err := issuer.Quote(sgx.ReportBody{})
		if err != nil {
			t.Fatal(err)
		}
		client := &pcs.Client{Service: c.service}
		if _, err := client.CertificatesFor(context.Background(), q); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %s: %v; want %q", c.service, c.kind, err, c.want)
		}
		client.Close()
	}
}
