// Package loadgen asks an AESM daemon for much at once and measures how it bears it.
//
// Run lets a number of clients ask without pause, each its next request as soon
// as the last one is answered, and returns a Result. What they ask is a function;
// Quotes, Sizes, Keys and Inits make those that clients of the daemon have. Each
// request has a connection of its own, as with real clients.
//
// Clients that wait ask for nothing meanwhile. So the latency is that of this
// many clients, and not that of requests which come at times of their own.
package loadgen

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what is asked, by how many clients and for how long.
type Options struct {
	// Clients ask at the same time; 0 means 1.
	Clients int
	// Requests is how many are made in all; 0 means no limit.
	Requests uint64
	// Duration is how long; 0 means no limit. The end of Run's ctx ends it, too.
	Duration time.Duration
	// Do makes one request. It is called from as many goroutines at once as there
	// are clients, and must return soon when its ctx is done.
	Do func(ctx context.Context) error
}

// Run makes requests until a limit of o or the end of ctx is reached, and returns
// what came of them once all its clients have stopped. A limit of time interrupts
// the requests under way, one of requests waits for them.
//
// Once a second it tells progress, which may be nil, what was measured so far.
func Run(ctx context.Context, o Options, progress func(Result)) Result {
	if o.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Duration)
		defer cancel()
	}
	start := time.Now()
	var begun atomic.Uint64
	more := func() bool { return o.Requests == 0 || begun.Add(1) <= o.Requests }

	clients := make([]*client, max(o.Clients, 1))
	var running sync.WaitGroup
	for i := range clients {
		c := newClient()
		clients[i] = c
		running.Go(func() { c.run(ctx, o.Do, more) })
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()

	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if progress != nil {
				progress(sum(clients, time.Since(start)))
			}
		case <-done:
			return sum(clients, time.Since(start))
		}
	}
}

// client measures its own requests, so that clients do not wait for each other.
type client struct {
	mu     sync.Mutex // held by others only for progress
	result Result
}

func newClient() *client { return &client{result: newResult()} }

func (c *client) run(ctx context.Context, do func(context.Context) error, more func() bool) {
	for !over(ctx) && more() {
		start := time.Now()
		err := do(ctx)
		took := time.Since(start)
		interrupted := err != nil && over(ctx)

		c.mu.Lock()
		c.result.add(took, err, interrupted)
		c.mu.Unlock()
	}
}

// over tells whether ctx has ended. Its deadline counts by itself: what has to
// keep it may fail a moment before ctx says that it is done.
func over(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// sum adds up what the clients have measured.
func sum(clients []*client, elapsed time.Duration) Result {
	total := newResult()
	total.Elapsed = elapsed
	for _, c := range clients {
		c.mu.Lock()
		total.merge(c.result)
		c.mu.Unlock()
	}
	return total
}
