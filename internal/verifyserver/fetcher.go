package verifyserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/quote"
)

// Source is where a service has collateral from.
type Source interface {
	// Kept returns collateral for the platform of a quote that is at hand, or nil. It does
	// not wait for anything.
	Kept(*quote.Quote) *attest.Collateral
	// Fetch returns the newest collateral for the platform of a quote. A client asks for
	// it. It may return what Kept returns.
	Fetch(ctx context.Context, client netip.Addr, q *quote.Quote) (*attest.Collateral, error)
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
	// Cached returns valid collateral that is at hand, or nil. It does not wait for the
	// service.
	Cached(pcs.Family) *pcs.Bundle
	// Collateral waits for the service if there is none.
	Collateral(context.Context, pcs.Family) (*pcs.Bundle, error)
}

// Fetcher has a client fetch collateral that is not at hand. A collateral service that
// hangs or fails delays no quote of a platform whose collateral is.
type Fetcher struct {
	client  Client
	ctx     context.Context // of all fetches
	cancel  context.CancelFunc
	fetches share
	waiting share
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	flights map[pcs.Family]*flight
}

// flight is a fetch in progress.
type flight struct {
	done chan struct{}
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
		flights: make(map[pcs.Family]*flight),
	}
}

// Close cancels all fetches and waits until they have ended.
func (f *Fetcher) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cancel()
	f.running.Wait()
}

// Kept returns what the client has at hand.
func (f *Fetcher) Kept(q *quote.Quote) *attest.Collateral {
	family, err := pcs.FamilyOf(q)
	if err != nil {
		return nil
	}
	if bundle := f.client.Cached(family); bundle != nil {
		return &bundle.Collateral
	}
	return nil
}

// Fetch waits for a fetch, which it starts if there is none in progress.
func (f *Fetcher) Fetch(ctx context.Context, client netip.Addr, q *quote.Quote) (*attest.Collateral, error) {
	family, err := pcs.FamilyOf(q)
	if err != nil {
		return nil, err
	}
	giveBack, ok := f.waiting.take(client)
	if !ok {
		return nil, errors.New("too many requests wait for collateral: try again")
	}
	defer giveBack()
	fetch, err := f.join(client, family)
	if err != nil {
		return nil, err
	}
	select {
	case <-fetch.done:
		if fetch.err != nil {
			return nil, fetch.err
		}
		return &fetch.bundle.Collateral, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer from the collateral service: %w", context.Cause(ctx))
	}
}

// join returns the fetch of a family that is in progress, or a new one.
func (f *Fetcher) join(client netip.Addr, family pcs.Family) (*flight, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if running := f.flights[family]; running != nil {
		return running, nil
	}
	if f.closed {
		return nil, errors.New("the service is stopping")
	}
	giveBack, ok := f.fetches.take(client)
	if !ok {
		return nil, errors.New("too many fetches of collateral are in progress: try again")
	}
	started := &flight{done: make(chan struct{})}
	f.flights[family] = started
	f.running.Go(func() {
		defer giveBack()
		started.bundle, started.err = f.client.Collateral(f.ctx, family)
		close(started.done)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.flights, family)
	})
	return started, nil
}
