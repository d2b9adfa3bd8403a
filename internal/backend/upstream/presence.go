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
func (b *presence) note(began time.Time, err error) {
	transport, isSilent := errors.AsType[*aesm.TransportError](err)
	switch {
	case !isSilent:
		b.replied()
	case errors.Is(err, context.Canceled):
		// Who asked did not wait.
	case errors.Is(err, context.DeadlineExceeded) && time.Since(began) < patience:
	default:
		b.silent(began, transport.Err)
	}
}

func (b *presence) replied() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered = time.Now()
	if !b.silentSince.IsZero() {
		b.log.Info("upstream is back", "silent", b.answered.Sub(b.silentSince).Round(time.Millisecond))
		b.silentSince = time.Time{}
	}
}

func (b *presence) silent(began time.Time, why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// A daemon that has replied to others meanwhile is slow, not silent.
	if b.answered.After(began) || !b.silentSince.IsZero() {
		return
	}
	b.silentSince = time.Now()
	b.log.Warn("upstream does not answer", "error", why)
}
