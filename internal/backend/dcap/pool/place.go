package pool

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// retainTime is how long a worker of the previous generation is retained.
const retainTime = 5 * time.Second

const (
	// A worker that ends is started again at once, and if that does not last, after a
	// pause between minRestart and maxRestart that doubles each time. A quarter more
	// or less keeps the workers from starting all at the same time. Whatever the reason
	// is, quotes should be back within a minute after it is gone.
	minRestart    = 200 * time.Millisecond
	maxRestart    = 10 * time.Second
	restartJitter = 0.25
	// stable is how long a worker must live for its end to count as the first.
	stable = 10 * time.Second

	// The pause after a replacement that failed.
	minReplace = 5 * time.Second
	maxReplace = 5 * time.Minute
)

// place keeps a worker running.
type place[G comparable, W any] struct {
	pool       *Pool[G, W]
	number     int
	supervisor Supervisor[G, W]
}

// run has a worker in the place until ctx is done.
func (p *place[G, W]) run(ctx context.Context) {
	restart := newRestart()
	for ctx.Err() == nil {
		var lived time.Duration
		w, err := p.supervisor.Start(ctx, "")
		switch {
		case err == nil:
			began := time.Now()
			p.keep(ctx, p.pool.add(p.number, w))
			lived = time.Since(began)
		case ctx.Err() == nil:
			p.pool.fail(p.number, err)
		}
		await(ctx, nil, restart.pause(lived))
	}
}

// restart is when a worker that has ended is started again.
type restart struct {
	backOff *backoff.ExponentialBackOff
	ended   bool // a worker has ended, and none was stable since
}

func newRestart() *restart {
	return &restart{backOff: newBackOff(minRestart, maxRestart, restartJitter)}
}

// pause returns the pause after a worker that has lived for so long.
func (r *restart) pause(lived time.Duration) time.Duration {
	if lived > stable {
		r.backOff.Reset()
		r.ended = false
	}
	if !r.ended {
		r.ended = true
		return 0
	}
	return r.backOff.NextBackOff()
}

// keep watches a worker and those that replace it, until one ends or ctx is done.
func (p *place[G, W]) keep(ctx context.Context, m *member[G, W]) {
	tick := time.NewTicker(p.pool.options.PollInterval)
	defer tick.Stop()
	replacement := newReplacement()
	for {
		select {
		case <-ctx.Done():
			p.pool.remove(m)
			m.process.Kill()
			<-m.process.Ended()
			return
		case <-m.process.Ended():
			p.pool.remove(m)
			p.supervisor.Ended()
			return
		case <-tick.C:
			if lease, ok := p.pool.takeIdle(m); ok {
				p.supervisor.Check(ctx, lease)
				lease.Return()
			}
			reason := p.supervisor.Outdated()
			if !replacement.isDue(reason) {
				continue
			}
			if next := p.replace(ctx, m, reason); next != nil {
				m, replacement = next, newReplacement()
			} else {
				replacement.failed()
			}
		}
	}
}

// replace replaces a worker that works, once the new one can serve. It returns nil if
// the old one stays.
func (p *place[G, W]) replace(ctx context.Context, old *member[G, W], reason string) *member[G, W] {
	select {
	case p.pool.replacing <- struct{}{}:
		defer func() { <-p.pool.replacing }()
	case <-old.process.Ended():
		return nil
	case <-ctx.Done():
		return nil
	}
	w, err := p.supervisor.Start(ctx, reason)
	if err != nil {
		return nil
	}
	next := p.pool.add(p.number, w)
	p.pool.running.Go(func() { p.pool.retire(ctx, old, next.Generation) })
	return next
}

// replacement is when a worker that is outdated is replaced.
type replacement struct {
	backOff   *backoff.ExponentialBackOff
	notBefore time.Time
}

func newReplacement() *replacement {
	return &replacement{backOff: newBackOff(minReplace, maxReplace, 0)}
}

// isDue reports whether a worker that is outdated for a reason should be replaced
// now. A reason that has gone away starts anew.
func (r *replacement) isDue(reason string) bool {
	if reason == "" {
		r.backOff.Reset()
		r.notBefore = time.Time{}
		return false
	}
	return !time.Now().Before(r.notBefore)
}

// failed puts the next replacement off.
func (r *replacement) failed() { r.notBefore = time.Now().Add(r.backOff.NextBackOff()) }

// newBackOff returns pauses that double.
func newBackOff(first, most time.Duration, jitter float64) *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: first, MaxInterval: most, Multiplier: 2, RandomizationFactor: jitter}
}

// await waits until c is closed, for d at most, or until ctx is done.
func await(ctx context.Context, c <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c:
	case <-timer.C:
	case <-ctx.Done():
	}
}
