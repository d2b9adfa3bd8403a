package main

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/sgx"
)

// Only an enclave of the signer gets the secret, for the key that it has bound to a fresh nonce.
func TestSecret(t *testing.T) {
	issuer, err := attesttest.NewIssuer("node-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	collateral, err := issuer.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	nonces, err := challenge.NewIssuer(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	verifier := &verify.Verifier{Roots: []attest.Root{issuer.TrustedRoot()}, Source: collateral}
	service := handler(nonces, verifier, attest.Policy{MRSigners: []sgx.Measurement{{2}}})

	response := httptest.NewRecorder()
	service.ServeHTTP(response, httptest.NewRequest("GET", "/nonce", nil))
	var fresh challenge.Nonce
	if err := fresh.UnmarshalText(response.Body.Bytes()); err != nil {
		t.Fatal(err)
	}
	key, foreign := []byte("the public key of the enclave"), make(challenge.Nonce, 48)
	for _, c := range []struct {
		name   string
		signer sgx.Measurement
		bound  []byte // the key in the quote
		nonce  challenge.Nonce
		status int
	}{
		{"an enclave of the signer", sgx.Measurement{2}, key, fresh, 200},
		{"another signer", sgx.Measurement{3}, key, fresh, 403},
		{"the key of another", sgx.Measurement{2}, []byte("another key"), fresh, 403},
		{"a nonce of another service", sgx.Measurement{2}, key, foreign, 403},
	} {
		q, err := issuer.Quote(sgx.ReportBody{MRSigner: c.signer, ReportData: challenge.ReportData(c.nonce, c.bound)})
		if err != nil {
			t.Fatal(err)
		}
		evidence, err := q.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(answer{c.nonce, key, evidence})
		if err != nil {
			t.Fatal(err)
		}
		response := httptest.NewRecorder()
		service.ServeHTTP(response, httptest.NewRequest("POST", "/secret", bytes.NewReader(body)))
		if response.Code != c.status {
			t.Errorf("%s: %d: %s", c.name, response.Code, response.Body)
		}
	}
}
