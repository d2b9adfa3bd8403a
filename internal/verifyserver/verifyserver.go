// Package verifyserver judges quotes over HTTP, for services that cannot do it
// themselves: they POST a quote and get the attest.Result.
//
// The policy is that of a file, which is read again when it changes; a request may
// add the nonce that it expects. Collateral is asked for only once a quote has shown
// to be of a platform below a trusted root, so that nobody can have the service ask
// for whatever he likes.
package verifyserver

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// openAPI describes the service.
//
//go:embed openapi.json
var openAPI []byte

// maxBody is more than a quote in JSON has, in bytes.
const maxBody = 64 << 10

// Service judges quotes.
type Service struct {
	Verifier *attest.Verifier
	// Collateral gets what the quote is judged by. Its platform is below a trusted
	// root, and the quote is signed.
	Collateral func(context.Context, *quote.Quote) (*attest.Collateral, error)
	// Policy is what is wanted of quotes at present.
	Policy func() attest.Policy
	Log    *slog.Logger

	busy     chan struct{}
	verdicts *prometheus.CounterVec
	took     prometheus.Histogram
}

// The verdicts, as the metric names them.
const (
	trusted     = "trusted"
	notTrusted  = "not_trusted"
	cannotTell  = "cannot_tell"
	badRequest  = "bad_request"
	unavailable = "unavailable" // no collateral, or too many requests
)

// Handler returns the service as a handler. Its metrics are registered.
func (s *Service) Handler(registry prometheus.Registerer) http.Handler {
	// Judging is work for a processor: more at once would only wait for each other.
	s.busy = make(chan struct{}, 16*runtime.GOMAXPROCS(0))
	s.verdicts = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "confcom_verifier_requests_total",
		Help: "Requests to judge a quote, by the verdict."}, []string{"verdict"})
	s.took = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "confcom_verifier_seconds",
		Help: "How long verdicts have taken, with what had to be fetched.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8)})
	registry.MustRegister(s.verdicts, s.took)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/verify", s.serve)
	mux.HandleFunc("GET /v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openAPI) // the client may be gone
	})
	return mux
}

// request is the body of a request in JSON. The other form is the bytes of a quote.
type request struct {
	Quote []byte `json:"quote"` // base64
	// ReportData is what the enclave has to have bound, in hex, besides what the policy
	// wants.
	ReportData quote.HexBytes `json:"reportData"`
}

// Response is the answer to a request that was judged.
type Response struct {
	*attest.Result
	// Reason is why the quote is not trusted.
	Reason string `json:"reason,omitempty"`
	// Enclave is who speaks through the quote, if it is trusted.
	Enclave *sgx.ReportBody `json:"enclave,omitempty"`
}

// problem is the answer to a request that was not judged.
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
		s.verdicts.WithLabelValues(unavailable).Inc()
		w.Header().Set("Retry-After", "1")
		s.answer(w, http.StatusServiceUnavailable, map[string]string{"error": "too many requests at once: try again"})
		return
	}
	start := time.Now()
	response, err := s.judge(r.Context(), w, r)
	s.took.Observe(time.Since(start).Seconds())
	if err != nil {
		verdict, status := badRequest, http.StatusBadRequest
		if p, ok := errors.AsType[*problem](err); ok {
			if status = p.status; status == http.StatusServiceUnavailable {
				verdict = unavailable
				s.Log.Warn("a quote cannot be judged", "error", err)
			}
		}
		s.verdicts.WithLabelValues(verdict).Inc()
		s.answer(w, status, map[string]string{"error": err.Error()})
		return
	}
	verdict := notTrusted
	switch err := response.Err(); {
	case err == nil:
		verdict = trusted
	case errors.Is(err, attest.ErrIncomplete):
		verdict = cannotTell
	}
	s.verdicts.WithLabelValues(verdict).Inc()
	s.Log.Debug("a quote was judged", "verdict", verdict, "reason", response.Reason)
	s.answer(w, http.StatusOK, response)
}

func (s *Service) answer(w http.ResponseWriter, status int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		s.Log.Error("an answer cannot be written", "error", err)
		status, text = http.StatusInternalServerError, []byte(`{"error": "a bug in this verifier: please report it"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client may be gone
}

// judge reads a request and judges its quote.
func (s *Service) judge(ctx context.Context, w http.ResponseWriter, r *http.Request) (*Response, error) {
	q, policy, err := s.read(w, r)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	result, err := s.Verifier.Verify(q, nil, policy, now)
	if errors.Is(err, attest.ErrIncomplete) && q.Enclave != nil {
		var collateral *attest.Collateral
		if collateral, err = s.Collateral(ctx, q); err != nil {
			return nil, &problem{http.StatusServiceUnavailable, fmt.Errorf("there is no collateral to judge the quote by: %w", err)}
		}
		result, err = s.Verifier.Verify(q, collateral, policy, now)
	}
	if result == nil {
		return nil, err // it carries no certificates, or such as cannot be read
	}
	response := &Response{Result: result}
	if err != nil {
		response.Reason = err.Error()
	} else {
		response.Enclave = q.Enclave
	}
	return response, nil
}

// read returns the quote of a request, and what is wanted of it.
func (s *Service) read(w http.ResponseWriter, r *http.Request) (*quote.Quote, attest.Policy, error) {
	policy := s.Policy()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, policy, &problem{http.StatusRequestEntityTooLarge, fmt.Errorf("more than %d bytes: that is no quote", tooLarge.Limit)}
	}
	if err != nil {
		return nil, policy, fmt.Errorf("the request could not be read: %w", err)
	}
	kind, err := kindOf(r.Header.Get("Content-Type"), body)
	if err != nil {
		return nil, policy, &problem{http.StatusUnsupportedMediaType, err}
	}
	data := body
	switch kind {
	case "application/octet-stream":
	case "application/json":
		var asked request
		if err := json.Unmarshal(body, &asked); err != nil {
			return nil, policy, fmt.Errorf("the request: %w", err)
		}
		data = asked.Quote
		if asked.ReportData != nil {
			if len(asked.ReportData) > len(sgx.ReportData{}) {
				return nil, policy, fmt.Errorf("reportData has %d bytes, and there is room for %d", len(asked.ReportData), len(sgx.ReportData{}))
			}
			policy.ReportData = asked.ReportData
		}
	}
	q, err := quote.Parse(data)
	return q, policy, err
}

// kindOf is what a request has, by its Content-Type or, where it has none, by its first
// byte: no quote begins as JSON does.
func kindOf(contentType string, body []byte) (string, error) {
	if contentType == "" {
		if bytes.HasPrefix(body, []byte("{")) {
			return "application/json", nil
		}
		return "application/octet-stream", nil
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "application/octet-stream" && kind != "application/json" {
		return "", fmt.Errorf("the Content-Type is %q, and has to be application/octet-stream or application/json", contentType)
	}
	return kind, nil
}
