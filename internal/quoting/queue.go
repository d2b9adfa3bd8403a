package quoting

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// maxIdlePeers is how many peers the queue remembers at most, unless more of them
// wait. A node runs a few hundred pods.
const maxIdlePeers = 2048

// queue shares the backend fairly between the peers that ask for quotes. When the
// backend can serve one more request, nextTurn decides whose. A peer with few
// requests waits for the requests in service plus at most one turn of every other
// peer; a peer with many waits behind its own.
type queue struct {
	concurrency int // how many requests the backend serves at a time
	paces       [works]pace

	mu      sync.Mutex
	free    int // how many more requests the backend could serve now
	waiting int
	work    amounts // what waits
	turns   uint64  // counts the turns taken and the peers that came: the clock of lastTurn
	peers   map[string]*peerQueue
}

// place is the place of a request that waits in the queue.
type place struct {
	work     work
	deadline time.Time // of the request, zero if it has none
	// outcome receives nil when it is the request's turn, or an error if the turn
	// comes too late, and has room for one of them.
	outcome chan error
}

func newQueue(concurrency int) *queue {
	return &queue{concurrency: concurrency, free: concurrency, peers: make(map[string]*peerQueue)}
}

// enter waits until it is the turn of a request of peer, for some work; leave ends the
// turn. It reports whether the request had to wait. The error is that of ctx, or an *overload.
func (q *queue) enter(ctx context.Context, peer string, w work) (waited bool, err error) {
	q.mu.Lock()
	p := q.peers[peer]
	if p == nil {
		// A new peer counts as one that has just had a turn. Otherwise callers with a
		// new name for each request would always go first.
		q.turns++
		p = &peerQueue{key: peer, lastTurn: q.turns}
		q.peers[peer] = p
	}
	if q.free > 0 {
		q.free--
		q.take(p)
		q.mu.Unlock()
		return false, nil
	}
	deadline, _ := ctx.Deadline()
	if err := q.unsatisfiable(p, w, deadline); err != nil {
		q.tidy(p)
		q.mu.Unlock()
		pause(ctx)
		return true, err
	}
	outcome := make(chan error, 1)
	element := p.waiting.PushBack(place{w, deadline, outcome})
	p.work[w]++
	q.work[w]++
	q.waiting++
	q.mu.Unlock()

	select {
	case err := <-outcome:
		return true, err
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case err := <-outcome: // ctx and the queue were done at the same moment
		if err != nil {
			return true, err
		}
		q.leaveLocked(peer)
	default:
		q.remove(p, element)
		q.tidy(p)
	}
	return true, fmt.Errorf("wait for the quote backend: %w", ctx.Err())
}

// leave ends the turn of a request of peer and starts the next one.
func (q *queue) leave(peer string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leaveLocked(peer)
}

func (q *queue) leaveLocked(peer string) {
	p := q.peers[peer]
	// The request that ends still counts for p, so that another peer is next even
	// if the backend serves one request at a time.
	if !q.serveNext() {
		q.free++
	}
	p.inService--
	q.tidy(p)
}

// serveNext starts the next turn. It reports false if no request waits, apart from
// those whose turn comes too late.
func (q *queue) serveNext() bool {
	for q.waiting > 0 {
		next := q.nextTurn()
		first := q.remove(next, next.waiting.Front())
		if err := q.late(next, first, time.Now()); err != nil {
			first.outcome <- err
			q.tidy(next)
			continue
		}
		q.take(next)
		first.outcome <- nil
		return true
	}
	return false
}

// remove takes a waiting request out of the queue.
func (q *queue) remove(p *peerQueue, element *list.Element) place {
	q.waiting--
	removed := p.waiting.Remove(element).(place)
	p.work[removed.work]--
	q.work[removed.work]--
	return removed
}

// tidy forgets p if it is idle and has never been served. It forgets all idle peers
// when nothing waits, or when there are too many of them.
func (q *queue) tidy(p *peerQueue) {
	if p.idle() && !p.served {
		delete(q.peers, p.key)
	}
	if q.waiting > 0 && len(q.peers) <= maxIdlePeers {
		return
	}
	for peer, p := range q.peers {
		if p.idle() {
			delete(q.peers, peer)
		}
	}
}

// idle reports whether the peer has no request in the queue.
func (p *peerQueue) idle() bool { return p.inService == 0 && p.waiting.Len() == 0 }

// load returns how many requests are in service and how many wait.
func (q *queue) load() (inService, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.concurrency - q.free, q.waiting
}
