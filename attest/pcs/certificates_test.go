package pcs_test

import (
	"context"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
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
			if known := client.CertificatesInMemory(q); len(known) != 3 || !known[0].Equal(chain[0]) || !known[2].Equal(chain[2]) {
				t.Errorf("%d certificates in memory", len(known))
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

// A failure is remembered, so that the same quote causes no more requests for a while. Without a
// subscription key, Intel's service is not asked.
func TestCertificateFailures(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	service, err := pcs.PCCS(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := attesttest.NewIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	client := &pcs.Client{Service: service, HTTP: server.Client()}
	defer client.Close()
	ask := func(kind quote.CertificationDataType) error {
		t.Helper()
		issuer.CertificationType = kind
		q, err := issuer.Quote(sgx.ReportBody{})
		if err != nil {
			t.Fatal(err)
		}
		if chain := client.CertificatesInMemory(q); chain != nil {
			t.Errorf("%d certificates in memory", len(chain))
		}
		_, err = client.CertificatesFor(t.Context(), q)
		return err
	}
	for i, kind := range []quote.CertificationDataType{quote.PPIDRSA3072, quote.PCKLeaf, quote.PPIDClear} {
		for n := range 2 {
			err := ask(kind)
			if status, ok := errors.AsType[*pcs.StatusError](err); !ok || status.Status != http.StatusNotFound || strings.Contains(err.Error(), "not asked again for ") != (n > 0) {
				t.Errorf("%s: %v", kind, err)
			}
		}
		if n := int(requests.Load()); n != i+1 {
			t.Errorf("%s: %d requests, want %d", kind, n, i+1)
		}
	}
	client = &pcs.Client{Service: pcs.Intel(), HTTP: server.Client()}
	defer client.Close()
	if err := ask(quote.PPIDRSA3072); !errors.Is(err, quote.ErrUnsupported) || !strings.Contains(err.Error(), "subscription key") {
		t.Error(err)
	}
}
