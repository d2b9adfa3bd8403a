package upstream

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/confcom/confcom/aesm"
)

// patience is how long a request has to wait before its silence says something
// of the daemon. One that has spent its time in the helper's queue, and comes
// here with little left, does not.
const patience = time.Second

// presence tells the log when the daemon falls silent and when it is back: a
// line for each change, however many requests suffer.
type presence struct {
	log *slog.Logger

	mu          sync.Mutex
	answered    time.Time // when the daemon last replied to anybody
	silentSince time.Time // zero while it replies
}

// note takes account of a request that was first tried at began.
func (p *presence) note(began time.Time, err error) {
	transport, isSilent := errors.AsType[*aesm.TransportError](err)
	switch {
	case !isSilent:
		p.replied()
	case errors.Is(err, context.Canceled):
		// Who asked did not wait.
	case errors.Is(err, context.DeadlineExceeded) && time.Since(began) < patience:
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

func (p *presence) silent(began time.Time, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A daemon that has replied to others meanwhile is slow, not silent.
	if p.answered.After(began) || !p.silentSince.IsZero() {
		return
	}
	p.silentSince = time.Now()
	p.log.Warn("upstream does not answer", "error", why)
}
