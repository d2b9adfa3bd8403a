package verifier

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/internal/cli/trust"
	"github.com/confcom/confcom/internal/reload"
	"github.com/confcom/confcom/quote"
)

// client returns a client of the service at the URL.
func (s *server) client(root attest.Root, log *slog.Logger) (*pcs.Client, error) {
	f := trust.Fetcher{URL: s.collateral, Cache: s.cache, Timeout: trust.DefaultTimeout, SkipTLSCheck: s.skipTLSCheck}
	return f.Client(root, func(step pcs.Step) {
		switch {
		case step.Err != nil:
			log.Warn("fetch collateral part failed", "part", step.Part, "url", step.URL, "cached", step.Cached, "error", step.Err)
		case !step.Cached:
			log.Info("fetched collateral part", "part", step.Part, "url", step.URL)
		}
	})
}

// file is collateral in a file.
type file struct{ *reload.Value[*pcs.Bundle] }

func (s *server) collateralFile() (file, error) {
	path := trust.CollateralFile(s.collateral)
	bundle, err := reload.Read(func() (*pcs.Bundle, error) { return trust.ReadCollateral(path) }, path)
	return file{bundle}, err
}

// Kept returns the collateral in the file.
func (f file) Kept(*quote.Quote) *attest.Collateral { return &f.Get().Collateral }

// Fetch returns the same: there is no other.
func (f file) Fetch(context.Context, netip.Addr, *quote.Quote, *attest.Collateral) (*attest.Collateral, error) {
	return f.Kept(nil), nil
}
