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
	// maxFailures is how many failures are remembered: more than Intel has families, so that
	// those of real ones are not forgotten early, whatever is asked for.
	maxFailures = 1024
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

// failures remembers failures by what failed. They are kept apart from collateral, so that
// neither makes room for the other.
type failures[K comparable] map[K]*failure

// note remembers an error. If there are too many, it forgets the one that would be tried again
// first.
func (fs failures[K]) note(key K, err error, now time.Time) {
	f := fs[key]
	if f == nil {
		fs.makeRoom()
		f = new(failure)
		fs[key] = f
	}
	f.note(err, now)
}

// at returns the error of a key while it is remembered.
func (fs failures[K]) at(key K, now time.Time) error {
	if f := fs[key]; f != nil {
		return f.at(now)
	}
	return nil
}

func (fs failures[K]) makeRoom() {
	if len(fs) < maxFailures {
		return
	}
	var first K
	var until time.Time
	for key, f := range fs {
		if until.IsZero() || f.until.Before(until) {
			first, until = key, f.until
		}
	}
	delete(fs, first)
}
