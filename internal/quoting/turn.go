package quoting

import (
	"container/list"
	"time"
)

// peerQueue is what one peer has in the queue. It exists while the peer has a
// request in service or waiting and, so that its last turn is not forgotten, while
// any other peer waits.
type peerQueue struct {
	key       string    // of the peer
	waiting   list.List // of place, the oldest request first
	work      amounts   // what waits
	inService int       // requests of the peer that the backend serves now
	lastTurn  uint64    // when the peer was last served, or first came
	served    bool      // it has been served at least once
}

// nextTurn returns the peer whose turn it is, nil if none waits: the one with the
// fewest requests in service and, among those, the one served the longest ago.
//
// It looks at every peer. A node runs at most a few hundred pods.
func (q *queue) nextTurn() *peerQueue {
	if q.waiting == 0 {
		return nil
	}
	var next *peerQueue
	for _, p := range q.peers {
		if p.waiting.Len() > 0 && (next == nil || p.before(next)) {
			next = p
		}
	}
	return next
}

// ahead returns how long the backend takes for the requests that wait and are served before
// one of p that arrives now: all others of p and, in turn with these, those of the other
// peers. If others have several kinds of work, it assumes that they come evenly.
func (q *queue) ahead(p *peerQueue) time.Duration {
	own := p.waiting.Len()
	d := q.duration(p.work)
	for _, other := range q.peers {
		if n := other.waiting.Len(); other != p && n > 0 {
			d += q.duration(other.work) * time.Duration(min(n, own+1)) / time.Duration(n)
		}
	}
	return d
}

// duration returns how long the backend takes for some work, one request after another.
func (q *queue) duration(n amounts) (d time.Duration) {
	for w := range works {
		d += time.Duration(n[w]) * q.paces[w].perRequest()
	}
	return d
}

// before reports whether it is p's turn before other's.
func (p *peerQueue) before(other *peerQueue) bool {
	if p.inService != other.inService {
		return p.inService < other.inService
	}
	return p.lastTurn < other.lastTurn
}

// take records that a request of p goes into service.
func (q *queue) take(p *peerQueue) {
	q.turns++
	p.inService++
	p.lastTurn, p.served = q.turns, true
}
