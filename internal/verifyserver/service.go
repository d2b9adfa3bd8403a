// Package verifyserver verifies SGX quotes over HTTP, for relying parties that cannot
// do it themselves: they POST a quote and get the attestation result, an attest.Result.
//
// The appraisal policy comes from a file, which is read again when it changes; a request
// may add the nonce that it expects in the report data. Collateral is fetched only for
// quotes whose certificate chain ends in a trusted root and whose signature is valid,
// so that callers cannot make the service send arbitrary requests.
package verifyserver

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// openAPI describes the service.
//
//go:embed openapi.json
var openAPI []byte

// maxPerCPU is how many requests the service works on at a time, for each CPU. Verifying
// is CPU work: more requests would only wait for each other.
const maxPerCPU = 16

// Service verifies quotes.
type Service struct {
	Verifier *attest.Verifier
	// Collateral returns the collateral to verify a quote with. Its certificate chain
	// ends in a trusted root, and its signature is valid.
	Collateral func(context.Context, *quote.Quote) (*attest.Collateral, error)
	// Policy returns the current appraisal policy.
	Policy  func() attest.Policy
	Log     *slog.Logger
	Metrics *Metrics // nil counts nothing

	busy chan struct{} // has an element for each request in progress
}

// Handler returns the HTTP handler of the service.
func (s *Service) Handler() http.Handler {
	s.busy = make(chan struct{}, maxPerCPU*runtime.GOMAXPROCS(0))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/verify", s.serve)
	mux.HandleFunc("GET /v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openAPI) // the client may be gone
	})
	return mux
}

// Response is the answer to a request whose quote was verified.
type Response struct {
	*attest.Result
	// Reason is why the quote is not trusted.
	Reason string `json:"reason,omitempty"`
	// Enclave is the enclave that the quote identifies, if the quote is trusted.
	Enclave *sgx.ReportBody `json:"enclave,omitempty"`
}

// problem is the error of a request that is answered with another status than 400.
type problem struct {
	status int
	err    error
}

func (p *problem) Error() string { return p.err.Error() }

func (s *Service) serve(w http.ResponseWriter, r *http.Request) {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	default:
		s.Metrics.count(unavailable)
		w.Header().Set("Retry-After", "1")
		s.answer(w, http.StatusServiceUnavailable, map[string]string{"error": "too many requests at once: try again"})
		return
	}
	start := time.Now()
	response, err := s.verify(w, r)
	s.Metrics.took(time.Since(start))
	if err != nil {
		v, status := badRequest, http.StatusBadRequest
		if p, ok := errors.AsType[*problem](err); ok {
			if status = p.status; status == http.StatusServiceUnavailable {
				v = unavailable
				s.Log.Warn("verify quote failed", "error", err)
			}
		}
		s.Metrics.count(v)
		s.answer(w, status, map[string]string{"error": err.Error()})
		return
	}
	v := notTrusted
	switch err := response.Err(); {
	case err == nil:
		v = trusted
	case errors.Is(err, attest.ErrIncomplete):
		v = incomplete
	}
	s.Metrics.count(v)
	s.Log.Debug("quote verified", "verdict", string(v), "reason", response.Reason)
	s.answer(w, http.StatusOK, response)
}

func (s *Service) answer(w http.ResponseWriter, status int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		s.Log.Error("encode answer failed", "error", err)
		status, text = http.StatusInternalServerError, []byte(`{"error": "cannot encode the answer: please report this bug"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client may be gone
}

// verify reads a request and verifies its quote: first without collateral and, if only
// that is missing, again with it.
func (s *Service) verify(w http.ResponseWriter, r *http.Request) (*Response, error) {
	policy := s.Policy() // also for a bad request, so that a broken policy file is noticed
	q, reportData, err := read(w, r)
	if err != nil {
		return nil, err
	}
	if reportData != nil {
		policy.ReportData = reportData
	}
	now := time.Now()
	result, err := s.Verifier.Verify(q, nil, policy, now)
	if errors.Is(err, attest.ErrIncomplete) && q.Enclave != nil {
		var collateral *attest.Collateral
		if collateral, err = s.Collateral(r.Context(), q); err != nil {
			return nil, &problem{http.StatusServiceUnavailable, fmt.Errorf("fetch collateral: %w", err)}
		}
		result, err = s.Verifier.Verify(q, collateral, policy, now)
	}
	if result == nil {
		return nil, err // the quote carries no certificates, or unreadable ones
	}
	response := &Response{Result: result}
	if err != nil {
		response.Reason = err.Error()
	} else {
		response.Enclave = q.Enclave
	}
	return response, nil
}
