package quoting

import (
	"context"
	"sync"
	"time"
)

// Deadline bounds the time to an answer. Intel's client gives up after 15 seconds;
// a client that gets BUSY before then knows that it may try again.
const Deadline = 10 * time.Second

// lazyDeadline is a context that ends Deadline after the request began. It starts a
// timer only when something waits for its end, which is rare: a backend that is free
// and works in memory answers first. With context.WithTimeout, the quote helper needs
// 10% more CPU time for a request without a signature, and 5% more for one with a
// signature (BenchmarkQuotes of test/soak with 16 clients).
type lazyDeadline struct {
	context.Context // of the request, without the deadline
	at              time.Time

	mu     sync.Mutex
	timed  context.Context // with the timer; nil until Done is called
	cancel context.CancelFunc
	ended  bool // the request has
}

// withDeadline returns ctx with the deadline of a request that begins now. The
// function must be called when the request ends.
func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	d := &lazyDeadline{Context: ctx, at: time.Now().Add(Deadline)}
	return d, d.end
}

func (d *lazyDeadline) Deadline() (time.Time, bool) { return d.at, true }

func (d *lazyDeadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.cancel = context.WithDeadline(d.Context, d.at)
		if d.ended {
			d.cancel()
		}
	}
	return d.timed.Done()
}

func (d *lazyDeadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.timed != nil:
		return d.timed.Err()
	case d.Context.Err() != nil:
		return d.Context.Err()
	case !time.Now().Before(d.at):
		return context.DeadlineExceeded
	}
	return nil
}

// end stops the timer, if there is one.
func (d *lazyDeadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.cancel != nil {
		d.cancel()
	}
}
