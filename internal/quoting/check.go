package quoting

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/sgx"
)

// Reporter is a Platform that can make reports itself, as an enclave would.
type Reporter interface {
	// Report returns a report of the quote helper for a target.
	Report(target sgx.TargetInfo) (sgx.Report, error)
}

// Check finds out whether quotes can be had now, the way that clients have them:
// it gets one of a report of its own where the platform is a Reporter, and does
// all that leads up to it elsewhere.
func (s *Service) Check(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.metrics.panicked()
			err = fmt.Errorf("a bug in the platform: panic: %v\n%s", v, debug.Stack())
		}
	}()
	key := s.keys[0]
	ready, err := s.InitQuote(ctx, aesm.Caller{}, key)
	if err != nil {
		return err
	}
	size, err := s.QuoteSize(ctx, key)
	if err != nil {
		return err
	}
	reporter, ok := s.backend.(Reporter)
	if !ok {
		return nil
	}
	report, err := reporter.Report(ready.TargetInfo)
	if err != nil {
		return err
	}
	quoted, err := s.Quote(ctx, aesm.Caller{}, key, report, nil)
	if err == nil && len(quoted.Quote) != size {
		err = errors.New("platform: the quote has another size than was said")
	}
	return err
}
