package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/examples/attested-service/exchange"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// fake is a service, or somebody between it and the relying party.
type fake struct {
	signer  sgx.Measurement
	nonce   challenge.Nonce // that the quote binds instead of the one that was sent
	sent    []byte          // the key that is sent instead of the one that the quote binds
	receipt []byte          // that is sent instead of the one of the enclave
	got     []byte          // the secret
}

func (f *fake) serve(t *testing.T) *httptest.Server {
	key, err := exchange.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc(exchange.EvidencePath, func(w http.ResponseWriter, r *http.Request) {
		var asked exchange.Challenge
		if err := exchange.Read(r.Body, &asked); err != nil {
			t.Error(err)
		}
		if f.nonce != nil {
			asked.Nonce = f.nonce
		}
		public := key.PublicKey().Bytes()
		answer := exchange.Evidence{Key: public, Evidence: quoteOf(t, f.signer, challenge.ReportData(asked.Nonce, public))}
		if f.sent != nil {
			answer.Key = f.sent
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	mux.HandleFunc(exchange.SecretPath, func(w http.ResponseWriter, r *http.Request) {
		var sealed exchange.Secret
		if err := exchange.Read(r.Body, &sealed); err != nil {
			t.Error(err)
		}
		secret, receipt, err := exchange.Open(key, sealed)
		if err != nil {
			t.Error(err)
		}
		f.got = secret
		if f.receipt != nil {
			receipt.Receipt = f.receipt
		}
		_ = json.NewEncoder(w).Encode(receipt)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

func quoteOf(t *testing.T, signer sgx.Measurement, data sgx.ReportData) []byte {
	t.Helper()
	issuer, err := attesttest.NewIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	q, err := issuer.Quote(sgx.ReportBody{MREnclave: sgx.Measurement{1}, MRSigner: signer, ReportData: data})
	if err != nil {
		t.Fatal(err)
	}
	made, err := q.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestGive(t *testing.T) {
	signer := sgx.Measurement{2}
	other, err := exchange.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	collateral, err := attesttest.NewCollateral(attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	simulated := &verify.Verifier{Roots: []attest.Root{root}, Source: collateral, Now: attesttest.Today}
	genuine := &verify.Verifier{Source: collateral, Now: attesttest.Today}

	tests := map[string]struct {
		service  fake
		verifier *verify.Verifier
		untrust  bool // the quote is not trusted
		gets     bool // the service gets the secret
		want     bool // that is a success
	}{
		"right enclave":          {fake{signer: signer}, simulated, false, true, true},
		"another signer":         {fake{signer: sgx.Measurement{3}}, simulated, true, false, false},
		"simulated, not genuine": {fake{signer: signer}, genuine, true, false, false},
		"old quote":              {fake{signer: signer, nonce: make(challenge.Nonce, nonceSize)}, simulated, true, false, false},
		"key of somebody else":   {fake{signer: signer, sent: other.PublicKey().Bytes()}, simulated, true, false, false},
		"receipt of nobody":      {fake{signer: signer, receipt: make([]byte, 32)}, simulated, false, true, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := test.service.serve(t)
			party := &relyingParty{server.URL + "/", server.Client(), test.verifier, attest.Policy{MRSigners: []sgx.Measurement{signer}}}
			_, err := party.give(t.Context(), []byte("secret"))
			if (err == nil) != test.want || errors.Is(err, attest.ErrNotTrusted) != test.untrust {
				t.Errorf("error: %v", err)
			}
			if got := bytes.Equal(test.service.got, []byte("secret")); got != test.gets {
				t.Errorf("the service got the secret: %v, want %v", got, test.gets)
			}
		})
	}
}

// TestGiveRefused checks that the answer of a service that has no quote is in the error.
func TestGiveRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no quote", http.StatusServiceUnavailable)
	}))
	defer server.Close()
	party := &relyingParty{service: server.URL, client: server.Client()}
	_, err := party.give(t.Context(), nil)
	if want := `/v1/evidence: 503 Service Unavailable: "no quote"`; err == nil || err.Error() != want {
		t.Errorf("error: %v, want %s", err, want)
	}
}
