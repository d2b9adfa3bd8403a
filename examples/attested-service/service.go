package main

import (
	"crypto/hpke"
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/examples/attested-service/exchange"
)

// service proves what it runs in, and receives a secret.
type service struct {
	enclave enclave
	key     hpke.PrivateKey
	log     *slog.Logger
}

// newService returns a service with a new key.
func newService(in enclave, log *slog.Logger) (*service, error) {
	key, err := exchange.NewKey()
	if err != nil {
		return nil, err
	}
	return &service{in, key, log}, nil
}

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+exchange.EvidencePath, s.evidence)
	mux.HandleFunc("POST "+exchange.SecretPath, s.secret)
	return mux
}

// evidence answers a challenge with a quote that binds the nonce and the public key.
func (s *service) evidence(w http.ResponseWriter, r *http.Request) {
	var asked exchange.Challenge
	err := exchange.Read(r.Body, &asked)
	if err != nil || len(asked.Nonce) == 0 {
		http.Error(w, "want a JSON object with a nonce of 8 to 64 bytes in base64url", http.StatusBadRequest)
		return
	}
	key := s.key.PublicKey().Bytes()
	quote, err := s.enclave.Quote(r.Context(), challenge.ReportData(asked.Nonce, key))
	if err != nil {
		s.log.Error("quote failed", "error", err)
		http.Error(w, "no quote: see the log of the service", http.StatusServiceUnavailable)
		return
	}
	s.log.Info("made a quote", "bytes", len(quote))
	s.answer(w, exchange.Evidence{Key: key, Evidence: quote})
}

// secret receives a secret that only this enclave can read.
func (s *service) secret(w http.ResponseWriter, r *http.Request) {
	var sealed exchange.Secret
	if err := exchange.Read(r.Body, &sealed); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	secret, receipt, err := exchange.Open(s.key, sealed)
	if err != nil {
		http.Error(w, "the secret is not encrypted for this enclave: ask it for evidence again, it may have restarted", http.StatusConflict)
		return
	}
	// A real service uses the secret here, for example to decrypt its data. It never logs it.
	s.log.Info("received a secret", "bytes", len(secret))
	s.answer(w, receipt)
}

func (s *service) answer(w http.ResponseWriter, message any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(message); err != nil {
		s.log.Warn("answer failed", "error", err)
	}
}
