//go:build cgo

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/ql"
	"github.com/confcom/confcom/internal/qcnl"
)

// keptCertificates says how certificates are kept.
type keptCertificates struct {
	dir          string
	refreshAfter time.Duration
}

// cache returns the cache of what a provider tells, which fetch asks. Under another provider or
// another configuration there is another one, so that these prove themselves when
// a worker starts with them, and not when certificates are old.
func (k keptCertificates) cache(provider string, fetch certificates.Provider, log *slog.Logger) *certificates.Cache {
	h := sha256.New()
	fmt.Fprintln(h, provider)
	if info, err := os.Stat(provider); err == nil {
		fmt.Fprintln(h, info.Size(), info.ModTime().UnixNano())
	}
	configuration, err := os.ReadFile(qcnl.Path())
	fmt.Fprintln(h, string(configuration), err != nil)
	return &certificates.Cache{
		Dir: k.dir, Namespace: hex.EncodeToString(h.Sum(nil)),
		RefreshAfter: k.refreshAfter, Fetch: fetch, Log: log,
	}
}

// logTo returns a function that writes what the libraries log, and what they are
// to tell at the level of a log.
func logTo(log *slog.Logger) (func(ql.Level, string), ql.Level) {
	to := func(level ql.Level, text string) {
		switch level {
		case ql.LevelError:
			log.Warn("Intel's library", "text", text) // it calls many things an error that are none to us
		case ql.LevelInfo:
			log.Info("Intel's library", "text", text)
		default:
			log.Debug("Intel's library", "text", text)
		}
	}
	if log.Enabled(context.Background(), slog.LevelDebug) {
		return to, ql.LevelDebug
	}
	return to, ql.LevelError
}
