package quoting

import (
	"errors"
	"fmt"

	"github.com/confcom/confcom/aesm"
)

// Here a request is answered BUSY: when the queue is full, when another peer needs its
// place more, when its client has gone, or when the deadline expires. A backend may
// answer BUSY for reasons of its own; see failure.go of each.

// How many requests may wait: of all peers together, and of one peer. A backend that
// needs 5 ms for a quote serves 256 in little more than a second.
const (
	maxWaiting     = 1024
	maxWaitingPeer = 256
)

// makeRoom reports whether one more request of p may wait. If the whole queue is
// full, the newest request of the peer with the longest queue loses its place,
// unless p's queue would then be as long.
func (q *queue) makeRoom(p *peerQueue) bool {
	if p.waiting.Len() >= maxWaitingPeer {
		return false
	}
	if q.waiting < maxWaiting {
		return true
	}
	longest := p
	for _, other := range q.peers {
		if other.waiting.Len() > longest.waiting.Len() {
			longest = other
		}
	}
	if longest.waiting.Len() <= p.waiting.Len()+1 {
		return false
	}
	err := q.full(longest)
	q.remove(longest, longest.waiting.Back()) <- err
	return true
}

// full returns the error of a request of p that gets, or keeps, no place.
func (q *queue) full(p *peerQueue) error {
	return fmt.Errorf("queue full: %d requests waiting, %d of them from this caller", q.waiting, p.waiting.Len())
}

// What the operator of a node can do about an overload.
const (
	adviceBusy = "clients ask for more quotes than the backend can make: see sgx_quote_helper_service_seconds and sgx_quote_helper_requests_waiting in the metrics"
	adviceSlow = "the quote backend hangs or is overloaded: check the processes and services that it depends on"
	adviceGone = "none needed: the client has closed its connection"
)

var errClientGone = errors.New("client closed its connection while waiting for the quote backend")

// busyQueue is the failure of a request that was not served, because of err.
func busyQueue(err error) *Failure { return &Failure{LayerQueue, aesm.CodeBusy, err, adviceBusy} }

// busyClientGone is the failure of a request whose client has gone.
func busyClientGone() *Failure {
	return &Failure{LayerClient, aesm.CodeBusy, errClientGone, adviceGone}
}

// busyBackend is the failure of a request for which the backend returned err after
// the deadline.
func busyBackend(err error) *Failure {
	return &Failure{LayerBackend, aesm.CodeBusy, fmt.Errorf("no answer from the quote backend within %s: %w", Deadline, err), adviceSlow}
}
