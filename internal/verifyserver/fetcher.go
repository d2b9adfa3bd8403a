package verifyserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/pcs"
)

// Source is where a service has collateral from.
type Source interface {
	// Kept returns collateral of a family that is at hand, or nil. It does not wait for anything.
	Kept(attest.Family) *attest.Collateral
	// Fetch returns collateral of a family, for which a client asks: other collateral than kept,
	// which Kept has returned, if there is newer one.
	Fetch(ctx context.Context, client netip.Addr, family attest.Family, kept *attest.Collateral) (*attest.Collateral, error)
}

// A fetch may take long while the collateral service hangs. These bound how many there are
// at a time, which is what a pcs.Client makes at a time, and how many requests wait for
// them: in all, and for each client.
const (
	maxFetches, maxFetchesEach = 4, 1
	maxWaiting, maxWaitingEach = 128, 32
)

// Client gets collateral from a service: a *pcs.Client.
type Client interface {
	// InMemory returns valid collateral that is in memory, or nil.
	InMemory(attest.Family) *pcs.Bundle
	// Cached returns valid collateral that is at hand, or nil. It does not wait for the
	// service.
	Cached(attest.Family) *pcs.Bundle
	// Refresh waits for the service if there is none, or it is older than the service allows.
	Refresh(context.Context, attest.Family) (*pcs.Bundle, error)
}

// Fetcher has a client fetch collateral that is not at hand. A collateral service that
// hangs or fails delays no quote of a platform whose collateral is.
type Fetcher struct {
	client  Client
	ctx     context.Context // of all fetches
	cancel  context.CancelFunc
	waiting share
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	flights map[attest.Family]*flight
	queue   []*flight // those that have not started, the first one first
	fetches share
	starts  uint64
	started map[netip.Addr]uint64 // of the clients that wait: the number of their last start
}

// flight is a fetch that requests of several clients may wait for. Fetcher.mu guards the
// first group of fields.
type flight struct {
	started bool
	waiting map[netip.Addr]int // requests by client; without zeros

	family attest.Family
	done   chan struct{}
	// These are set when done is closed.
	bundle *pcs.Bundle
	err    error
}

// NewFetcher returns a Fetcher. Close it before the client.
func NewFetcher(client Client) *Fetcher {
	ctx, cancel := context.WithCancel(context.Background())
	return &Fetcher{
		client: client, ctx: ctx, cancel: cancel,
		fetches: share{all: maxFetches, each: maxFetchesEach},
		waiting: share{all: maxWaiting, each: maxWaitingEach},
		flights: make(map[attest.Family]*flight), started: make(map[netip.Addr]uint64),
	}
}

// Close cancels all fetches and waits until they have ended.
func (f *Fetcher) Close() {
	f.mu.Lock()
	f.closed = true
	for _, waiting := range f.queue {
		delete(f.flights, waiting.family)
		waiting.err = errStopping
		close(waiting.done)
	}
	f.queue = nil
	f.mu.Unlock()
	f.cancel()
	f.running.Wait()
}

var errStopping = errors.New("the service is stopping")

// Kept returns what the client has in memory.
func (f *Fetcher) Kept(family attest.Family) *attest.Collateral {
	if bundle := f.client.InMemory(family); bundle != nil {
		return &bundle.Collateral
	}
	return nil
}

// Fetch returns what the client has at hand, or waits for a fetch.
func (f *Fetcher) Fetch(ctx context.Context, client netip.Addr, family attest.Family, kept *attest.Collateral) (*attest.Collateral, error) {
	if bundle := f.client.Cached(family); bundle != nil && !same(&bundle.Collateral, kept) {
		return &bundle.Collateral, nil
	}
	giveBack, ok := f.waiting.take(client)
	if !ok {
		return nil, errors.New("too many requests wait for collateral: try again")
	}
	defer giveBack()
	wanted, err := f.join(client, family)
	if err != nil {
		return nil, err
	}
	defer f.leave(client, wanted)
	select {
	case <-wanted.done:
		if wanted.err != nil {
			return nil, wanted.err
		}
		return &wanted.bundle.Collateral, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", f.stateOf(wanted), context.Cause(ctx))
	}
}

// same reports whether two have the same content: a client returns copies.
func same(a, b *attest.Collateral) bool { return reflect.DeepEqual(a, b) }

// join returns the flight of a family, which one more request of a client waits for.
func (f *Fetcher) join(client netip.Addr, family attest.Family) (*flight, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errStopping
	}
	wanted := f.flights[family]
	if wanted == nil {
		wanted = &flight{family: family, done: make(chan struct{}), waiting: make(map[netip.Addr]int)}
		f.flights[family] = wanted
		f.queue = append(f.queue, wanted)
	}
	wanted.waiting[client]++
	f.startNext()
	return wanted, nil
}

// leave notes that one request less of a client waits for a flight. If it has not started,
// and nobody else waits for it, it never does.
func (f *Fetcher) leave(client netip.Addr, left *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if left.waiting[client]--; left.waiting[client] == 0 {
		delete(left.waiting, client)
	}
	if i := slices.Index(f.queue, left); i >= 0 && len(left.waiting) == 0 {
		f.queue = slices.Delete(f.queue, i, i+1)
		delete(f.flights, left.family)
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
func (f *Fetcher) startNext() {
	for {
		next, client := f.next()
		if next == nil {
			return
		}
		giveBack, ok := f.fetches.take(client)
		if !ok {
			return
		}
		f.queue = slices.DeleteFunc(f.queue, func(queued *flight) bool { return queued == next })
		next.started = true
		f.starts++
		f.started[client] = f.starts
		f.running.Go(func() { f.fly(next, giveBack) })
	}
}

// next returns the flight that starts next, and for which client: the one that has had its
// last start before the others, so that a client with many families does not delay one with
// few. f.mu is held.
func (f *Fetcher) next() (next *flight, first netip.Addr) {
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
func (f *Fetcher) fly(started *flight, giveBack func()) {
	started.bundle, started.err = f.client.Refresh(f.ctx, started.family)
	close(started.done)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.flights, started.family)
	giveBack()
	if !f.closed {
		f.startNext()
	}
}

// stateOf returns what a request that waits for a flight has waited for.
func (f *Fetcher) stateOf(wanted *flight) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if wanted.started {
		return "no answer from the collateral service"
	}
	return "too many fetches of collateral are in progress: try again"
}
