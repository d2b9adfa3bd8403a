package quoting

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/confcom/confcom/aesm"
)

// Check checks that quotes can be made now, through the same path as a client's
// requests. It gets a quote of a report of its own if the backend is a Reporter;
// otherwise it does everything that precedes a quote.
func (s *Service) Check(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.metrics.panicked()
			err = fmt.Errorf("panic in the quote backend: %v\n%s", v, debug.Stack())
		}
	}()
	var self aesm.Caller
	key := s.keys[0]
	ready, err := s.InitQuote(ctx, self, key)
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
	quoted, err := s.Quote(ctx, self, key, report, nil)
	if err != nil {
		return err
	}
	if len(quoted.Quote) != size {
		return errors.New("quote backend: size of the quote differs from QuoteSize")
	}
	return nil
}
