// Package verifyserver verifies quotes of SGX enclaves and TDX trust domains over HTTP, for
// relying parties that cannot do it themselves: they POST a quote, in any of the forms of
// package evidence, and get the attestation result, an attest.Result.
//
// The appraisal policy is that of the service; a request may require report data, such as
// a nonce, besides. Collateral is fetched only for quotes whose certificate chain ends in
// a trusted root and whose signature is valid, so that callers cannot make the service
// send arbitrary requests. The exception is certificates that a quote lacks: nothing of it can
// be verified without them, so its sender chooses for which platform they are requested.
//
// A request waits for three things, one after the other, and holds nothing of the next one
// meanwhile: for its body, which the HTTP server bounds, and the service if it is large; for
// the processor; and for certificates and collateral that are not at hand, which Fetcher bounds.
//
// The service hands out nonces, with which quotes are fresh (package challenge), and signs
// results for clients that ask for an EAR (package ear).
package verifyserver

import (
	"context"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/attest/ear"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// openAPI describes the service.
//
//go:embed openapi.json
var openAPI []byte

const (
	// maxPerCPU is how many requests the service works on at a time, for each CPU.
	// Verifying is CPU work: more requests would only wait for each other.
	maxPerCPU = 2
	// turnTimeout is how long a request waits for its turn to be worked on.
	turnTimeout = 5 * time.Second
	// fetchTimeout is how long a request waits for collateral. The fetch goes on without
	// it, for the next request.
	fetchTimeout = 15 * time.Second
	// warnInterval is the shortest time between two log lines about requests that could not
	// be served. The metrics count all of them.
	warnInterval = time.Second
)

// Service verifies quotes.
type Service struct {
	Verifier   *attest.Verifier
	Collateral Source
	// Policy returns the current appraisal policy.
	Policy func() Policy
	// Challenges returns the current issuer of nonces.
	Challenges func() *challenge.Issuer
	// Signer returns what signs EARs now. Nil makes none.
	Signer func() *ear.Signer
	// EARLifetime is for how long an EAR is valid.
	EARLifetime time.Duration

	Cluster daemon.Networks // in which each address is a client
	Log     *slog.Logger
	Metrics *Metrics // nil counts nothing

	working chan struct{} // has an element for each request that the processor works on
	large   share         // of requests with a large body
	streams share         // of requests that share a connection with others
	warn    rate.Sometimes
}

// Handler returns the HTTP handler of the service. The server bounds the number of
// requests, and the time in which their bodies are received.
func (s *Service) Handler() http.Handler {
	s.working = make(chan struct{}, maxPerCPU*runtime.GOMAXPROCS(0))
	s.large = share{all: maxLarge, each: maxLargeEach}
	s.streams = share{all: maxStreams, each: maxStreamsEach}
	s.warn.Interval = warnInterval
	mux := http.NewServeMux()
	for pattern, handler := range s.routes() {
		mux.HandleFunc(pattern, handler)
	}
	return s.bound(mux)
}

// bound bounds the requests that share a connection with others, over HTTP/2. The server bounds
// connections, which have one request at a time otherwise.
func (s *Service) bound(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor >= 2 {
			leave, ok := s.streams.take(daemon.Client(r.RemoteAddr, s.Cluster))
			if !ok {
				// Without a body: a client that reads none would hold the handler.
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusServiceUnavailable)
				s.Metrics.count(unavailable)
				return
			}
			defer leave()
		}
		handler.ServeHTTP(w, r)
	})
}

func (s *Service) routes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"POST /v1/verify":   s.serve,
		"GET /v1/challenge": s.challenge,
		"GET " + JWKSPath:   s.jwks,
		"GET /v1/openapi.json": func(w http.ResponseWriter, _ *http.Request) {
			send(w, http.StatusOK, mediaTypeJSON, openAPI)
		},
	}
}

// Response is the answer to a request whose quote was verified.
type Response struct {
	*attest.Result
	// Reason is why the quote is not trusted.
	Reason string `json:"reason,omitempty"`
	// Enclave is the enclave that the quote identifies, if the quote is trusted.
	Enclave *sgx.ReportBody `json:"enclave,omitempty"`
	// TrustDomain is the same for the quote of a trust domain.
	TrustDomain *tdx.ReportBody `json:"trustDomain,omitempty"`
	// Evidence is what held the quote. NotChecked has what is not known about it.
	Evidence evidence.Summary `json:"evidence"`
}

// verified is the outcome of a request.
type verified struct {
	Response
	quote    *quote.Quote
	policyID string
	nonce    challenge.Nonce // nil if the request has none
}

// problem is the error of a request that is answered with another status than 400.
type problem struct {
	status int
	err    error
}

func (p *problem) Error() string { return p.err.Error() }

func (s *Service) serve(w http.ResponseWriter, r *http.Request) {
	client := daemon.Client(r.RemoteAddr, s.Cluster)
	asToken, err := s.asToken(r.Header)
	var body received
	if err == nil {
		body, err = s.read(w, r, client)
	}
	start := time.Now()
	var result *verified
	if err == nil {
		result, err = s.verify(r.Context(), client, body)
		s.Metrics.took(time.Since(start))
	}
	if err != nil {
		v, status := badRequest, http.StatusBadRequest
		if p, ok := errors.AsType[*problem](err); ok {
			if status = p.status; status == http.StatusServiceUnavailable {
				v = unavailable
				w.Header().Set("Retry-After", "1")
				s.warn.Do(func() { s.Log.Warn("verify quote failed", "error", err) })
			}
		}
		s.Metrics.count(v)
		s.answer(w, status, map[string]string{"error": err.Error()})
		return
	}
	v := notTrusted
	switch err := result.Err(); {
	case err == nil:
		v = trusted
	case errors.Is(err, attest.ErrIncomplete):
		v = incomplete
	case errors.Is(err, attest.ErrCollateral):
		v = badCollateral
		s.warn.Do(func() { s.Log.Warn("verify quote failed", "error", err) })
	}
	s.Metrics.count(v)
	s.Metrics.verified(result.Result, start)
	s.Log.Debug("quote verified", "verdict", string(v), "reason", result.Reason)
	if !asToken {
		s.answer(w, http.StatusOK, &result.Response)
		return
	}
	token, err := s.token(result, start)
	if err != nil {
		s.Log.Error("sign EAR failed", "error", err)
		s.answer(w, http.StatusInternalServerError, map[string]string{"error": "cannot sign the EAR: please report this bug"})
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	send(w, http.StatusOK, mediaTypeEAR, []byte(token))
}

func (s *Service) answer(w http.ResponseWriter, status int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		s.Log.Error("encode answer failed", "error", err)
		status, text = http.StatusInternalServerError, []byte(`{"error": "cannot encode the answer: please report this bug"}`)
	}
	w.Header().Set("Cache-Control", "no-store")
	send(w, status, mediaTypeJSON, append(text, '\n'))
}

func send(w http.ResponseWriter, status int, mediaType string, body []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

// verify verifies the quote of a request, with collateral at hand. If it lacks collateral only, or
// that at hand cannot be used, verify fetches collateral and verifies it again. It gives the body
// back once it has read the quote in it: certificates and collateral may take long.
func (s *Service) verify(ctx context.Context, client netip.Addr, body received) (*verified, error) {
	defer body.giveBack()
	var q *quote.Quote
	var asked request
	var own verify.Certificates
	var reportData quote.HexBytes
	var summary evidence.Summary
	var result *attest.Result
	var policyID string
	atHand := &collateralAtHand{source: s.Collateral}
	appraise := func(source attest.Source) (err error) {
		result, policyID, err = s.appraise(ctx, q, source, reportData)
		return err
	}
	err := s.work(ctx, func() error {
		var err error
		if asked, err = body.decode(); err != nil {
			return err
		}
		if reportData, err = s.required(asked); err != nil {
			return err
		}
		e, err := evidence.Parse(asked.Quote)
		if err != nil {
			return err
		}
		q, summary = e.Parsed, e.Summary()
		if own, err = asked.certificates(q); err != nil {
			return err
		}
		body.body, asked.Quote, asked.Data, asked.Certificates = nil, nil, nil, ""
		body.giveBack()
		if q.Signature.CertificationData.Type != quote.PCKChain {
			return nil
		}
		return appraise(atHand)
	})
	if err == nil && result == nil {
		if q, err = s.complete(ctx, client, q, own); err == nil {
			err = s.work(ctx, func() error { return appraise(atHand) })
		}
	}
	if err != nil {
		return nil, err
	}
	if atHand.asked && needsCollateral(result) {
		kept := atHand.collateral
		collateral, err := s.fetch(ctx, client, atHand.family, kept)
		switch {
		case err != nil && kept != nil, err == nil && same(collateral, kept):
			err = nil // the result is that with the collateral at hand
		case err == nil:
			err = s.work(ctx, func() error { return appraise(collateral) })
		}
		if err != nil {
			return nil, err
		}
	}
	response := Response{Result: result, Evidence: summary}
	for _, what := range summary.NotChecked() {
		result.NotChecked = append(result.NotChecked, attest.Unchecked(what))
	}
	if err := result.Err(); err != nil {
		response.Reason = err.Error()
	} else {
		response.Enclave, response.TrustDomain = q.Enclave, q.TD
	}
	return &verified{response, q, policyID, asked.Nonce}, nil
}

// complete returns a quote with the certificates that it lacks.
func (s *Service) complete(ctx context.Context, client netip.Addr, q *quote.Quote, own verify.Certificates) (*quote.Quote, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, fetchTimeout, fmt.Errorf("waited for %s", fetchTimeout))
	defer cancel()
	completed, err := verify.Complete(ctx, q, certificatesFor{s.Collateral, client, own})
	if _, temporary := errors.AsType[*problem](err); err != nil && !temporary && len(own) == 0 {
		err = fmt.Errorf("%w: send the PCK certificate in \"certificates\"", err)
	}
	return completed, err
}

// certificatesFor has the certificates for a client.
type certificatesFor struct {
	source Source
	client netip.Addr
	own    verify.Certificates
}

// CertificatesFor returns the certificates that a quote lacks.
func (c certificatesFor) CertificatesFor(ctx context.Context, q *quote.Quote) ([]*x509.Certificate, error) {
	return c.source.Certificates(ctx, c.client, q, c.own)
}

// collateralAtHand is the collateral that a source has at hand. It remembers for which family it was
// asked, which happens only if the quote is proven.
type collateralAtHand struct {
	source     Source
	asked      bool
	family     attest.Family
	collateral *attest.Collateral // nil if there is none
}

// CollateralFor returns what the source keeps.
func (c *collateralAtHand) CollateralFor(_ context.Context, family attest.Family) (*attest.Collateral, error) {
	c.asked, c.family, c.collateral = true, family, c.source.Kept(family)
	if c.collateral == nil {
		return nil, errors.New("none is at hand")
	}
	return c.collateral, nil
}

// needsCollateral reports whether other collateral may change a result, or some if there was none:
// it fails for the collateral, and for nothing else.
func needsCollateral(r *attest.Result) bool {
	err := r.Err()
	return errors.Is(err, attest.ErrIncomplete) || errors.Is(err, attest.ErrCollateral) &&
		!slices.ContainsFunc(r.Checks, func(c attest.Check) bool { return !c.Passed && !c.Name.NeedsCollateral() })
}

// work does what takes the processor when it is the request's turn.
func (s *Service) work(ctx context.Context, do func() error) error {
	turn := time.NewTimer(turnTimeout)
	defer turn.Stop()
	select {
	case s.working <- struct{}{}:
		defer func() { <-s.working }()
		return do()
	case <-turn.C:
		return &problem{http.StatusServiceUnavailable, errors.New("too many requests at once: try again")}
	case <-ctx.Done():
		return &problem{http.StatusServiceUnavailable, context.Cause(ctx)}
	}
}

// fetch fetches collateral of a family, other than kept if possible.
func (s *Service) fetch(ctx context.Context, client netip.Addr, family attest.Family, kept *attest.Collateral) (*attest.Collateral, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, fetchTimeout, fmt.Errorf("waited for %s", fetchTimeout))
	defer cancel()
	collateral, err := s.Collateral.Fetch(ctx, client, family, kept)
	if err != nil {
		return nil, &problem{http.StatusServiceUnavailable, fmt.Errorf("fetch collateral: %w", err)}
	}
	return collateral, nil
}

// appraise verifies a quote by the policy, and by the report data that the request requires,
// if it is not nil. It returns the ID of that policy, and an error if the quote cannot be verified.
func (s *Service) appraise(ctx context.Context, q *quote.Quote, source attest.Source, reportData quote.HexBytes) (*attest.Result, string, error) {
	policy := s.Policy()
	required := policy.ReportData != nil
	if !required {
		policy.ReportData = reportData
	}
	result, err := s.Verifier.FetchAndVerify(ctx, q, source, policy.Policy, time.Now())
	switch {
	case result == nil:
		return nil, "", err // the quote carries no certificates, or unreadable ones
	case !required || reportData == nil:
		return result, policy.ID, nil
	}
	var want sgx.ReportData
	copy(want[:], reportData)
	check := attest.Check{Name: attest.CheckReportData, Passed: q.ReportData() == want, Detail: "as the request requires"}
	if !check.Passed {
		check.Detail = fmt.Sprintf("%s, and the request requires %s", q.ReportData(), want)
	}
	result.Checks = append(result.Checks, check)
	result.Trusted = result.Trusted && check.Passed
	return result, policy.ID, nil
}
