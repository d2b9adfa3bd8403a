package verifyserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

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

const (
	// refreshAge is the age at which collateral that is kept is fetched again. Whether that
	// takes a request is for the fetching function to decide.
	refreshAge = time.Minute
	// maxFamilies is the number of families whose collateral is kept.
	maxFamilies = 200

	// A fetch may take long while the collateral service hangs. These bound how many there
	// are at a time, and how many requests wait for them: in all, and for each client.
	maxFetches, maxFetchesEach = 16, 4
	maxWaiting, maxWaitingEach = 128, 32
)

// Fetcher fetches the collateral of families of platforms, and keeps it. Collateral that
// is kept is used at once and fetched again in the background, so that a collateral
// service that hangs or fails delays no quote of a known platform.
type Fetcher struct {
	ctx     context.Context // of all fetches
	cancel  context.CancelFunc
	fetch   func(context.Context, pcs.Family) (*attest.Collateral, error)
	fetches share
	waiting share
	running sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	families map[pcs.Family]*family
}

// family is what is known about a family of platforms.
type family struct {
	collateral *attest.Collateral // nil if it has not been fetched
	tried      time.Time          // when the last fetch ended
	flight     *flight            // the fetch in progress, or nil
}

// flight is a fetch in progress.
type flight struct {
	done chan struct{}
	// These are set when done is closed.
	collateral *attest.Collateral
	err        error
}

// NewFetcher returns a Fetcher that fetches with a function.
func NewFetcher(fetch func(context.Context, pcs.Family) (*attest.Collateral, error)) *Fetcher {
	ctx, cancel := context.WithCancel(context.Background())
	return &Fetcher{
		ctx: ctx, cancel: cancel, fetch: fetch,
		fetches:  share{all: maxFetches, each: maxFetchesEach},
		waiting:  share{all: maxWaiting, each: maxWaitingEach},
		families: make(map[pcs.Family]*family),
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

// Kept returns collateral that was fetched before. If it is old, it is fetched again in
// the background.
func (f *Fetcher) Kept(q *quote.Quote) *attest.Collateral {
	name, err := pcs.FamilyOf(q)
	if err != nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.families[name]
	if known == nil || known.collateral == nil {
		return nil
	}
	if !f.closed && known.flight == nil && time.Since(known.tried) >= refreshAge {
		f.start(name, known, func() {}) // one for each family that is kept: no client can ask for more
	}
	return known.collateral
}

// Fetch waits for a fetch, which it starts if there is none in progress.
func (f *Fetcher) Fetch(ctx context.Context, client netip.Addr, q *quote.Quote) (*attest.Collateral, error) {
	name, err := pcs.FamilyOf(q)
	if err != nil {
		return nil, err
	}
	giveBack, ok := f.waiting.take(client)
	if !ok {
		return nil, errors.New("too many requests wait for collateral: try again")
	}
	defer giveBack()
	waiting, err := f.join(client, name)
	if err != nil {
		return nil, err
	}
	select {
	case <-waiting.done:
		return waiting.collateral, waiting.err
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer from the collateral service: %w", context.Cause(ctx))
	}
}

// join returns the fetch of a family that is in progress, or a new one.
func (f *Fetcher) join(client netip.Addr, name pcs.Family) (*flight, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.families[name]
	if known != nil && known.flight != nil {
		return known.flight, nil
	}
	if f.closed {
		return nil, errors.New("the service is stopping")
	}
	giveBack, ok := f.fetches.take(client)
	if !ok {
		return nil, errors.New("too many fetches of collateral are in progress: try again")
	}
	if known == nil {
		known = new(family)
		f.families[name] = known
	}
	return f.start(name, known, giveBack), nil
}

// start starts a fetch, and calls ended when it has ended. The caller holds mu.
func (f *Fetcher) start(name pcs.Family, known *family, ended func()) *flight {
	started := &flight{done: make(chan struct{})}
	known.flight = started
	f.running.Go(func() {
		defer ended()
		collateral, err := f.fetch(f.ctx, name)
		f.mu.Lock()
		defer f.mu.Unlock()
		known.flight, known.tried = nil, time.Now()
		if err == nil {
			known.collateral = collateral
		}
		f.makeRoom(name, known)
		started.collateral, started.err = collateral, err
		close(started.done)
	})
	return started
}

// makeRoom forgets the family of a fetch that has ended if nothing is known about it, or
// another one if there are too many. The caller holds mu.
func (f *Fetcher) makeRoom(name pcs.Family, known *family) {
	if known.collateral == nil {
		delete(f.families, name)
	}
	for other, o := range f.families {
		if len(f.families) <= maxFamilies {
			return
		}
		if o != known && o.flight == nil {
			delete(f.families, other)
		}
	}
}
