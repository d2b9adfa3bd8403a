package quoting

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxWarnings is how many warnings of one peer are written per second.
	maxWarnings = 20
	// maxQuoteLines is how many lines about quotes of one peer are written per second,
	// and maxQuoteBurst how many of them at once. The kubelet keeps 50 MiB of a
	// container's log by default: a peer that floods it needs more than ten minutes to
	// push the lines of others out.
	maxQuoteLines = 100
	maxQuoteBurst = 1000
	// maxProbes is how many probes of one peer are counted as such per second, and
	// maxProbeBurst how many of them at once: a few more than the checks of confcom make.
	maxProbes     = 1
	maxProbeBurst = 10
	// sweepInterval is the time between two reports of the lines that were suppressed.
	sweepInterval = time.Second
	// maxReports is how many peers such a report names. The others have to wait for the
	// next one.
	maxReports = 20
)

// lineLimit limits the lines of each peer, or its probes, which have none.
type lineLimit struct {
	rate  rate.Limit // lines per second
	burst int

	mu    sync.Mutex
	peers map[string]*peerLines
}

type peerLines struct {
	*rate.Limiter
	suppressed int // since the last report
}

func newLineLimit(perSecond, burst int) *lineLimit {
	return &lineLimit{rate: rate.Limit(perSecond), burst: burst, peers: make(map[string]*peerLines)}
}

// allow reports whether a line of a peer may be written now.
func (l *lineLimit) allow(now time.Time, key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.peers[key]
	if p == nil {
		p = &peerLines{Limiter: rate.NewLimiter(l.rate, l.burst)}
		l.peers[key] = p
	}
	ok := p.AllowN(now, 1)
	if !ok {
		p.suppressed++
	}
	return ok
}

// sweep returns how many lines were suppressed since they were last reported, for at
// most maxReports peers, and forgets the peers that have had no lines for a while.
func (l *lineLimit) sweep(now time.Time) (suppressed map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, p := range l.peers {
		switch {
		case p.suppressed > 0 && len(suppressed) < maxReports:
			if suppressed == nil {
				suppressed = make(map[string]int)
			}
			suppressed[key] = p.suppressed
			p.suppressed = 0
		case p.suppressed == 0 && p.TokensAt(now) >= float64(l.burst):
			delete(l.peers, key)
		}
	}
	return suppressed
}
