//go:build cgo

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/config"
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
