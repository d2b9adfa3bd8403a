package verifyserver

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/sgx/simulation"
)

// A request for a platform whose certificates and collateral are known.
func BenchmarkRequest(b *testing.B) {
	s, _, q, from := newService(b, attest.Policy{AnyEnclave: true})
	service := httptest.NewServer(attesttest.Handler(from.collateral))
	defer service.Close()
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		b.Fatal(err)
	}
	at, err := pcs.PCCS(service.URL)
	if err != nil {
		b.Fatal(err)
	}
	client := &pcs.Client{Service: at, Roots: []attest.Root{root}, HTTP: service.Client()}
	defer client.Close()
	fetcher := NewFetcher(client)
	defer fetcher.Close()
	s.Collateral = fetcher
	handler := s.Handler()
	body := marshal(b, q)
	send := func(b *testing.B) {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/verify", bytes.NewReader(body))
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK || !bytes.Contains(w.Body.Bytes(), []byte(`"trusted":true`)) {
			b.Fatal(w.Code, w.Body)
		}
	}
	send(b) // fetches the collateral
	b.Run("handler", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			send(b)
		}
	})
	b.Run("HTTP", func(b *testing.B) {
		server := httptest.NewServer(handler)
		defer server.Close()
		for b.Loop() {
			response, err := server.Client().Post(server.URL+"/v1/verify", mediaTypeBytes, bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, response.Body); err != nil {
				b.Fatal(err)
			}
			response.Body.Close()
		}
	})
}
