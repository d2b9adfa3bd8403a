package upstream

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/confcom/confcom/aesm"
)

// minSilence is how long a request must have waited before a missing reply counts
// against the daemon. A request that has spent its time in the helper's queue, and
// arrives here with little left, does not count.
const minSilence = time.Second

// presence logs when the daemon stops answering and when it answers again: one line
// for each change, however many requests are affected.
type presence struct {
	log *slog.Logger

	mu          sync.Mutex
	answered    time.Time // when the daemon last replied to any request
	silentSince time.Time // zero while it replies
}

// note records the result of a request that was first attempted at began.
func (p *presence) note(began time.Time, err error) {
	transport, ok := errors.AsType[*aesm.TransportError](err)
	switch {
	case !ok:
		p.replied()
	case errors.Is(err, context.Canceled):
		// The caller stopped waiting.
	case errors.Is(err, context.DeadlineExceeded) && time.Since(began) < minSilence:
	default:
		p.silent(began, transport.Err)
	}
}

func (p *presence) replied() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered = time.Now()
	if !p.silentSince.IsZero() {
		p.log.Info("upstream is back", "silent", p.answered.Sub(p.silentSince).Round(time.Millisecond))
		p.silentSince = time.Time{}
	}
}

func (p *presence) silent(began time.Time, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A daemon that has replied to others meanwhile is slow, not silent.
	if p.answered.After(began) || !p.silentSince.IsZero() {
		return
	}
	p.silentSince = time.Now()
	p.log.Warn("upstream does not answer", "error", cause)
}
