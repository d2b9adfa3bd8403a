package quoting

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/confcom/confcom/aesm"
)

// Here a request is answered BUSY: when it cannot be served before its deadline at the
// measured pace, when its client has gone, or when the deadline expires. A backend may
// answer BUSY for reasons of its own; see failure.go of each.
//
// How many requests wait is no reason: each is a goroutine and a connection, and the
// server bounds the connections, of all peers and of each. Many clients take BUSY as
// final.

// refusalPause is the time after which a request is refused that has just arrived. It
// is the pause that BUSY asks for. A client that sends its next request at once would
// otherwise take the processor's time from the requests that are served.
const refusalPause = time.Second

// unsatisfiable returns an error if a request of p for some work that arrives now cannot be
// served before its deadline. It never does before the pace of that work is known.
//
// The estimate errs on the side of admission: it counts only requests that wait now,
// and as if they were in service all the time. A request for which it was wrong is
// answered when its turn comes too late, or at its deadline.
func (q *queue) unsatisfiable(p *peerQueue, w work, deadline time.Time) error {
	pace := q.paces[w].perRequest()
	if pace == 0 || deadline.IsZero() {
		return nil
	}
	left := time.Until(deadline)
	together := time.Duration(q.concurrency)
	if q.duration(q.work)/together+pace <= left {
		return nil // even if it were served last
	}
	if wait := q.ahead(p) / together; wait+pace > left {
		return &overload{q.waiting, p.waiting.Len(), wait, pace, left}
	}
	return nil
}

// late returns an error if a request of p, whose turn it is, has too little time left
// to be served. Serving it would take the time of others.
func (q *queue) late(p *peerQueue, next place, now time.Time) error {
	pace := q.paces[next.work].perRequest()
	if left := next.deadline.Sub(now); !next.deadline.IsZero() && left < pace {
		return &overload{q.waiting, p.waiting.Len(), 0, pace, left}
	}
	return nil
}

// overload is the error of a request that cannot be served before its deadline.
type overload struct {
	waiting, own int           // requests that wait: of all callers, and of this one
	wait         time.Duration // until its turn
	pace         time.Duration
	left         time.Duration // until its deadline
}

func (o *overload) Error() string {
	return fmt.Sprintf("cannot be served in time: %d requests waiting, %d of them from this caller; estimated wait %s and service %s, time left %s",
		o.waiting, o.own, o.wait.Round(time.Millisecond), o.pace.Round(time.Microsecond), o.left.Round(time.Millisecond))
}

// pause waits for refusalPause, or until ctx is done.
func pause(ctx context.Context) {
	timer := time.NewTimer(refusalPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
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
