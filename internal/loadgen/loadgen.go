// Package loadgen puts an AESM daemon under load and measures its throughput and latency.
//
// Run runs a number of clients, each of which sends its next request when the last one
// is answered, and returns a Result. A request is a function; Quotes, Sizes, Keys and
// Inits return the requests that clients of the daemon make. As with real clients, each
// request uses a new connection.
//
// The load is a closed loop: a client that waits sends nothing. So the latency is that
// of this number of clients, not of requests that arrive at a given rate.
package loadgen

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Options define a load: the request, the number of clients and the limits.
type Options struct {
	// Clients is how many send requests concurrently; 0 means 1.
	Clients int
	// Requests is how many all clients make together; 0 means no limit.
	Requests uint64
	// Duration is how long they make requests; 0 means no limit. Run's ctx can end it
	// earlier.
	Duration time.Duration
	// Do makes one request. All clients call it concurrently. It must return soon after
	// its ctx is done.
	Do func(ctx context.Context) error
}

// Run makes requests until it reaches a limit of o or ctx is done, and returns the result
// when all clients have stopped. When the time is over or ctx is done, requests in flight
// are cancelled; when the number of requests is reached, Run waits for them.
//
// Once a second Run calls progress, which may be nil, with the result so far.
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

// client measures its own requests, so that clients do not contend for a lock.
type client struct {
	mu     sync.Mutex // others hold it only to sum up
	result Result
}

func newClient() *client { return &client{result: newResult()} }

func (c *client) run(ctx context.Context, do func(context.Context) error, more func() bool) {
	for !over(ctx) && more() {
		start := time.Now()
		err := do(ctx)
		took := time.Since(start)
		cancelled := err != nil && over(ctx)

		c.mu.Lock()
		c.result.add(took, err, cancelled)
		c.mu.Unlock()
	}
}

// over reports whether ctx is done or its deadline has passed. A request with the same
// deadline may fail a moment before ctx is done.
func over(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// sum adds up the results of the clients.
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
