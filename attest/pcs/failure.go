package pcs

import (
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	firstBackoff = 10 * time.Second
	maxBackoff   = 5 * time.Minute
)

// failure remembers that something failed, so that it is not tried again for a while: longer each
// time. The zero failure is none.
type failure struct {
	err    error
	until  time.Time
	pauses backoff.ExponentialBackOff
}

// note remembers an error.
func (f *failure) note(err error, now time.Time) {
	if f.err == nil {
		f.pauses = backoff.ExponentialBackOff{InitialInterval: firstBackoff, RandomizationFactor: 0.2, Multiplier: 2, MaxInterval: maxBackoff}
	}
	pause := f.pauses.NextBackOff()
	if status, ok := errors.AsType[*StatusError](err); ok {
		pause = max(pause, min(status.RetryAfter, maxBackoff))
	}
	f.err, f.until = err, now.Add(pause)
}

// at returns the error while it is remembered.
func (f *failure) at(now time.Time) error {
	if f.err == nil || !now.Before(f.until) {
		return nil
	}
	return fmt.Errorf("%w; not asked again for %s", f.err, f.until.Sub(now).Round(time.Second))
}
