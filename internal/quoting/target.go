package quoting

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/confcom/confcom/aesm"
)

// targetInterval is how often the backend is asked for its target because of reports
// that are invalid.
const targetInterval = time.Second

// adviceTarget is for the application, as nothing is wrong on the node.
const adviceTarget = "the application must repeat InitQuoteEx and make a new report for the target info it returns. " +
	"If it has done so, the report is invalid: it was not made on this machine"

// initQuote makes the backend's key ready, and remembers its target.
func (s *Service) initQuote(ctx context.Context) (aesm.Initialized, error) {
	ready, err := s.backend.InitQuote(ctx)
	if err == nil {
		s.targets.Learn(ready.TargetInfo)
	}
	return ready, err
}

// invalidReport returns the error of a request whose report the backend has found
// invalid with err. If the quoting enclave was replaced, the report may be for the
// earlier one, as reports do not name their target. Then the client gets
// CodeAttKeyNotInitialized, on which Gramine fetches the target again;
// CodeInvalidReport is final to it.
func (s *Service) invalidReport(ctx context.Context, err error) error {
	if !s.targets.Replaced() {
		s.targets.Ask(ctx, targetInterval, func() {
			s.targets.Reload()
			// If this fails, the report is as invalid as before.
			_, _ = s.initQuote(ctx)
		})
	}
	if !s.targets.Replaced() {
		return err
	}
	cause := err
	if f, ok := errors.AsType[*Failure](err); ok {
		cause = f.Err
	}
	return &Failure{
		Layer:  LayerClient,
		Code:   aesm.CodeAttKeyNotInitialized,
		Err:    fmt.Errorf("the report is not for this quoting enclave, which has replaced another one: %w", cause),
		Advice: adviceTarget,
	}
}
