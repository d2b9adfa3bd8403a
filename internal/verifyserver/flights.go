package verifyserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A fetch may take long while the collateral service hangs. These bound how many there are
// at a time, which is what a pcs.Client makes at a time, and how many requests wait for
// them: in all, and for each client.
const (
	maxFetches, maxFetchesEach = 4, 1
	maxWaiting, maxWaitingEach = 128, 32
)

// flights are fetches of one kind, by what is fetched, and the requests that wait for them.
type flights[K comparable, V any] struct {
	fetch func(context.Context, K) (V, error)
	// pause is how long a fetch that failed holds its share, once it has been answered.
	pause time.Duration

	ctx     context.Context // of all fetches
	cancel  context.CancelFunc
	waiting share
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	flights map[K]*flight[K, V]
	queue   []*flight[K, V] // those that have not started, the first one first
	fetches share
	starts  uint64
	started map[netip.Addr]uint64 // of the clients that wait: the number of their last start
}

// flight is a fetch that requests of several clients may wait for. flights.mu guards the
// first group of fields.
type flight[K comparable, V any] struct {
	started bool
	waiting map[netip.Addr]int // requests by client; without zeros

	key  K
	done chan struct{}
	// These are set when done is closed.
	value V
	err   error
}

func newFlights[K comparable, V any](pause time.Duration, fetch func(context.Context, K) (V, error)) *flights[K, V] {
	ctx, cancel := context.WithCancel(context.Background())
	return &flights[K, V]{
		fetch: fetch, pause: pause, ctx: ctx, cancel: cancel,
		fetches: share{all: maxFetches, each: maxFetchesEach},
		waiting: share{all: maxWaiting, each: maxWaitingEach},
		flights: make(map[K]*flight[K, V]), started: make(map[netip.Addr]uint64),
	}
}

// close cancels all fetches and waits until they have ended.
func (f *flights[K, V]) close() {
	f.mu.Lock()
	f.closed = true
	for _, waiting := range f.queue {
		delete(f.flights, waiting.key)
		waiting.err = errStopping
		close(waiting.done)
	}
	f.queue = nil
	f.mu.Unlock()
	f.cancel()
	f.running.Wait()
}

var errStopping = errors.New("the service is stopping")

// wait waits for the fetch of a key, which several clients may wait for.
func (f *flights[K, V]) wait(ctx context.Context, client netip.Addr, key K) (V, error) {
	var none V
	giveBack, ok := f.waiting.take(client)
	if !ok {
		return none, errors.New("too many requests wait for collateral: try again")
	}
	defer giveBack()
	wanted, err := f.join(client, key)
	if err != nil {
		return none, err
	}
	defer f.leave(client, wanted)
	select {
	case <-wanted.done:
		return wanted.value, wanted.err
	case <-ctx.Done():
		return none, fmt.Errorf("%s: %w", f.stateOf(wanted), context.Cause(ctx))
	}
}

// join returns the flight of a key, which one more request of a client waits for.
func (f *flights[K, V]) join(client netip.Addr, key K) (*flight[K, V], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errStopping
	}
	wanted := f.flights[key]
	if wanted == nil {
		wanted = &flight[K, V]{key: key, done: make(chan struct{}), waiting: make(map[netip.Addr]int)}
		f.flights[key] = wanted
		f.queue = append(f.queue, wanted)
	}
	wanted.waiting[client]++
	f.startNext()
	return wanted, nil
}

// leave notes that one request less of a client waits for a flight. If it has not started,
// and nobody else waits for it, it never does.
func (f *flights[K, V]) leave(client netip.Addr, left *flight[K, V]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if left.waiting[client]--; left.waiting[client] == 0 {
		delete(left.waiting, client)
	}
	if i := slices.Index(f.queue, left); i >= 0 && len(left.waiting) == 0 {
		f.queue = slices.Delete(f.queue, i, i+1)
		delete(f.flights, left.key)
	}
	for _, other := range f.flights {
		if other.waiting[client] > 0 {
			return
		}
	}
	delete(f.started, client)
}

// startNext starts flights in the queue for which a client that waits for them has a share.
// f.mu is held.
func (f *flights[K, V]) startNext() {
	for {
		next, client := f.next()
		if next == nil {
			return
		}
		giveBack, ok := f.fetches.take(client)
		if !ok {
			return
		}
		f.queue = slices.DeleteFunc(f.queue, func(queued *flight[K, V]) bool { return queued == next })
		next.started = true
		f.starts++
		f.started[client] = f.starts
		f.running.Go(func() { f.fly(next, giveBack) })
	}
}

// next returns the flight that starts next, and for which client: the one that has had its
// last start before the others, so that a client with many families does not delay one with
// few. f.mu is held.
func (f *flights[K, V]) next() (next *flight[K, V], first netip.Addr) {
	for _, queued := range f.queue {
		for client := range queued.waiting {
			if f.fetches.has(client) && (next == nil || f.started[client] < f.started[first]) {
				next, first = queued, client
			}
		}
	}
	return next, first
}

// fly makes the fetch.
func (f *flights[K, V]) fly(started *flight[K, V], giveBack func()) {
	started.value, started.err = f.fetch(f.ctx, started.key)
	close(started.done)
	if started.err != nil && f.pause > 0 {
		select {
		case <-time.After(f.pause):
		case <-f.ctx.Done():
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.flights, started.key)
	giveBack()
	if !f.closed {
		f.startNext()
	}
}

// stateOf returns what a request that waits for a flight has waited for.
func (f *flights[K, V]) stateOf(wanted *flight[K, V]) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if wanted.started {
		return "no answer from the collateral service"
	}
	return "too many fetches of collateral are in progress: try again"
}
