package quotehelper

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/quoting"
)

const (
	// checkInterval is the time between two checks that quotes can be made.
	checkInterval = 10 * time.Second
	// recheckInterval is the time to the next check after one that failed.
	recheckInterval = time.Second
)

// checker checks regularly that quotes can be made. It logs only changes.
type checker struct {
	service *quoting.Service
	log     *slog.Logger
	quotes  *daemon.Condition
	ready   chan struct{} // closed once a check has succeeded
}

func newChecker(service *quoting.Service, log *slog.Logger, quotes *daemon.Condition) *checker {
	return &checker{service: service, log: log, quotes: quotes, ready: make(chan struct{})}
}

// run checks until ctx is done.
func (c *checker) run(ctx context.Context) {
	ready := sync.OnceFunc(func() { close(c.ready) })
	failing := false
	for {
		err := c.service.Check(ctx)
		if ctx.Err() != nil {
			return
		}
		c.quotes.Set(advised(err))
		interval := checkInterval
		switch {
		case err != nil:
			interval = recheckInterval
			if !failing {
				c.log.Warn("quotes unavailable", "error", err, "advice", adviceOf(err))
			}
		default:
			if failing {
				c.log.Info("quotes available again")
			}
			ready()
		}
		failing = err != nil

		timer := time.NewTimer(interval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// adviceOf returns what the operator of the node can do about an error of a check. The
// advice of CodeUnexpected is to read what this helper logs.
func adviceOf(err error) string {
	f, ok := errors.AsType[*quoting.Failure](err)
	switch {
	case !ok:
		return ""
	case f.Advice == "" && f.Code != aesm.CodeUnexpected:
		return f.Code.OperatorAdvice()
	}
	return f.Advice
}

// advised returns an error of a check with its advice, for the condition.
func advised(err error) error {
	if err == nil {
		return nil
	}
	return &advisedError{err}
}

type advisedError struct{ error }

func (e *advisedError) Unwrap() error  { return e.error }
func (e *advisedError) Advice() string { return adviceOf(e.error) }
