//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/fetch"
	"github.com/confcom/confcom/internal/backend/dcap/ql"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/internal/daemon"
)

// logTo returns a function that writes the quoting library's log to log, and the level
// up to which it should log.
func logTo(log *slog.Logger) (func(ql.Level, string), ql.Level) {
	to := func(level ql.Level, text string) {
		switch level {
		case ql.LevelError:
			log.Warn("Intel library", "text", text) // many of its errors are harmless
		case ql.LevelInfo:
			log.Info("Intel library", "text", text)
		default:
			log.Debug("Intel library", "text", text)
		}
	}
	if log.Enabled(context.Background(), slog.LevelDebug) {
		return to, ql.LevelDebug
	}
	return to, ql.LevelError
}

// What the providers of Intel and Azure log, by which an answer and an error are
// explained.
var (
	lineRequest = regexp.MustCompile(`^\[QCNL\] Request URL (.+)|Trying to fetch response from (?:primary|secondary) URL: '([^'?]*)`) // Azure's cuts lines
	lineStatus  = regexp.MustCompile(`^\[QCNL\] HTTP status code: *(\d+)|^HTTP error \((\d+)\)`)
	lineCURL    = regexp.MustCompile(`^\[QCNL\] Encountered CURL error: *(.*)|^Encountered CURL error (\d+) in curl_easy_perform`)
	lineFetched = regexp.MustCompile(`^Successfully fetched certificate from (?:primary|secondary) URL`) // Azure's logs no status 200
	lineCache   = regexp.MustCompile(`^\[QCNL\] Fetched from the local cache successfully|^Successfully fetched certificate from cache`)
)

// curlHTTPError is the error of libcurl by which Azure's provider learns of a status.
const curlHTTPError = "(22)"

// heard is what the provider has logged.
type heard struct {
	log *slog.Logger

	mu       sync.Mutex
	requests []fetch.Request
	inCache  bool
}

// maxRequests is how many requests of a provider are remembered.
const maxRequests = 20

// hear is called with a line of the provider's log.
func (h *heard) hear(level ql.Level, text string) {
	h.learn(text)
	if level == ql.LevelError {
		h.log.Warn("quote provider", "text", text)
	} else {
		h.log.Debug("quote provider", "text", text) // it has the encrypted PPID
	}
}

// learn takes from a line what it says of requests.
func (h *heard) learn(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m := lineRequest.FindStringSubmatch(text); m != nil {
		if len(h.requests) < maxRequests {
			h.requests = append(h.requests, fetch.Request{URL: baseOf(m[1] + m[2])})
		}
		return
	}
	if lineCache.MatchString(text) {
		h.inCache = true
	}
	if len(h.requests) == 0 {
		return
	}
	last := &h.requests[len(h.requests)-1]
	if m := lineStatus.FindStringSubmatch(text); m != nil {
		last.Status, _ = strconv.Atoi(m[1] + m[2])
	} else if m := lineCURL.FindStringSubmatch(text); m != nil {
		last.CURL = strings.TrimSpace(m[1])
		if m[2] != "" {
			last.CURL = "(" + m[2] + ")"
		}
		if last.CURL == curlHTTPError && last.Status != 0 {
			last.CURL = ""
		}
	} else if lineFetched.MatchString(text) {
		last.Status = http.StatusOK
	}
}

// baseOf returns the URL of the service to which a request for a certificate goes.
func baseOf(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return daemon.WithoutSecrets(strings.TrimSuffix(url, "pckcert"))
}

// made returns the requests of the provider.
func (h *heard) made() []fetch.Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.requests)
}

// source returns where the provider has its answer from.
func (h *heard) source() certificates.Source {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.inCache:
		return certificates.ProviderCache
	case len(h.requests) > 0:
		return certificates.Network
	}
	return certificates.Unknown
}

// lastCause returns the last status that is not 200, or error of the network.
func (h *heard) lastCause() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.requests) == 0 {
		return ""
	}
	switch last := h.requests[len(h.requests)-1]; {
	case last.CURL != "":
		return "CURL error " + last.CURL
	case last.Status != 0 && last.Status != http.StatusOK:
		return "HTTP status " + strconv.Itoa(last.Status)
	}
	return ""
}

// explain adds what the provider has logged to its error. One that it cannot name
// itself comes from an answer that it did not understand.
func (h *heard) explain(err error) error {
	if cause := h.lastCause(); cause != "" {
		err = fmt.Errorf("%s: %w", cause, err)
	}
	if errors.Is(err, quote3.Unexpected) {
		return &certificates.UselessError{Err: fmt.Errorf("the provider failed with %v", err)}
	}
	return err
}
