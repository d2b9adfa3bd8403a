//go:build cgo

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/dcap/ql"
)

// newCache returns the cache of what fetch returns. Another provider library or
// another configuration of it has its own data, so that a change is tried when a
// worker starts, and not when the certificates are old.
func newCache(c config.Config, fetch certificates.Provider, log *slog.Logger) *certificates.Cache {
	h := sha256.New()
	fmt.Fprintln(h, c.Provider)
	if info, err := os.Stat(c.Provider); err == nil {
		fmt.Fprintln(h, info.Size(), info.ModTime().UnixNano())
	}
	configuration, err := os.ReadFile(c.QCNL)
	fmt.Fprintln(h, string(configuration), err != nil)
	return &certificates.Cache{
		Dir: c.Certificates, Namespace: hex.EncodeToString(h.Sum(nil)),
		RefreshAfter: c.RefreshAfter, Fetch: fetch, Log: log,
	}
}

// logTo returns a function that writes the libraries' log to log, and the level up to
// which they should log.
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
