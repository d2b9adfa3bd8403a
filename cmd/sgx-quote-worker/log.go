//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/ql"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
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

// What Intel's provider logs, by which an answer and an error are explained.
const (
	lineRequest = "[QCNL] Request URL"
	lineCache   = "[QCNL] Fetched from the local cache successfully"
	lineStatus  = "[QCNL] HTTP status code:"
	lineCURL    = "[QCNL] Encountered CURL error:"
)

// heard is what the provider has logged.
type heard struct {
	log *slog.Logger

	mu                 sync.Mutex
	requested, inCache bool
	cause              string // the last status that is not 200, or error of the network
}

// hear is called with a line of the provider's log.
func (h *heard) hear(level ql.Level, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case strings.HasPrefix(text, lineRequest):
		h.requested = true
	case strings.HasPrefix(text, lineCache):
		h.inCache = true
	case strings.HasPrefix(text, lineStatus):
		status := strings.TrimSpace(strings.TrimPrefix(text, lineStatus))
		if h.cause = ""; status != "200" {
			h.cause = "HTTP status " + status
		}
	case strings.HasPrefix(text, lineCURL):
		h.cause = "CURL error " + strings.TrimSpace(strings.TrimPrefix(text, lineCURL))
	}
	if level == ql.LevelError {
		h.log.Warn("quote provider", "text", text)
	} else {
		h.log.Debug("quote provider", "text", text) // it has the encrypted PPID
	}
}

// source returns where the provider has its answer from.
func (h *heard) source() certificates.Source {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.requested:
		return certificates.Network
	case h.inCache:
		return certificates.ProviderCache
	}
	return certificates.Unknown
}

// lastCause returns the last status that is not 200, or error of the network.
func (h *heard) lastCause() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cause
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
