package quoting

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxWarnings is how many warnings of one peer are written per second.
	maxWarnings = 20
	// sweepInterval is the time between two reports of the warnings that were not.
	sweepInterval = time.Second
)

// warningLimit limits the warnings of each peer.
type warningLimit struct {
	mu    sync.Mutex
	swept time.Time
	peers map[string]*peerWarnings
}

type peerWarnings struct {
	*rate.Limiter
	suppressed int // since the last sweep
}

// allow reports whether a warning of a peer may be written now. Once per
// sweepInterval it also returns, by peer, how many have been suppressed since.
func (l *warningLimit) allow(now time.Time, key string) (ok bool, suppressed map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.swept) >= sweepInterval {
		suppressed = l.sweep(now)
	}
	p := l.peers[key]
	if p == nil {
		p = &peerWarnings{Limiter: rate.NewLimiter(maxWarnings, maxWarnings)}
		l.peers[key] = p
	}
	if ok = p.AllowN(now, 1); !ok {
		p.suppressed++
	}
	return ok, suppressed
}

// sweep returns the counts of suppressed warnings, resets them, and forgets the
// peers that have not warned for a while.
func (l *warningLimit) sweep(now time.Time) (suppressed map[string]int) {
	if l.peers == nil {
		l.peers = make(map[string]*peerWarnings)
	}
	l.swept = now
	for key, p := range l.peers {
		switch {
		case p.suppressed > 0:
			if suppressed == nil {
				suppressed = make(map[string]int)
			}
			suppressed[key] = p.suppressed
			p.suppressed = 0
		case p.TokensAt(now) >= maxWarnings:
			delete(l.peers, key)
		}
	}
	return suppressed
}
