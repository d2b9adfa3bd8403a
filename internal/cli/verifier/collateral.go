package verifier

import (
	"context"
	"log/slog"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/internal/cli/trust"
	"github.com/confcom/confcom/quote"
)

// source returns a function that gets the collateral for a quote: from the service,
// or from the file. The caller must close it.
func (s *server) source(root attest.Root, log *slog.Logger) (get func(context.Context, *quote.Quote) (*attest.Collateral, error), closeIt func(), err error) {
	if !trust.IsURL(s.collateral) {
		// It is small, and replaced when it expires: read it for each quote.
		read := func(context.Context, *quote.Quote) (*attest.Collateral, error) {
			bundle, err := trust.ReadCollateral(s.collateral)
			if err != nil {
				return nil, err
			}
			return &bundle.Collateral, nil
		}
		_, err := read(context.Background(), nil)
		return read, func() {}, err
	}
	f := trust.Fetcher{URL: s.collateral, Cache: s.cache, Timeout: trust.DefaultTimeout, SkipTLSCheck: s.skipTLSCheck}
	client, err := f.Client(root, func(step pcs.Step) {
		switch {
		case step.Err != nil:
			log.Warn("fetch collateral part failed", "part", step.Part, "url", step.URL, "cached", step.Cached, "error", step.Err)
		case !step.Cached:
			log.Info("fetched collateral part", "part", step.Part, "url", step.URL)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, q *quote.Quote) (*attest.Collateral, error) {
		family, err := pcs.FamilyOf(q)
		if err != nil {
			return nil, err
		}
		bundle, err := client.Collateral(ctx, family)
		if err != nil {
			return nil, err
		}
		return &bundle.Collateral, nil
	}, client.Close, nil
}
