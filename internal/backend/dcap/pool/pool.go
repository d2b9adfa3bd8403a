// Package pool keeps a number of workers running and leases them, each to one
// caller at a time.
//
// A pool has places. Each place has a worker: the pool starts it, starts another
// when it ends (with a back-off), and replaces it when it is outdated, by one that
// is ready before the old one leaves. What a worker is, how it starts and when it
// is outdated is decided by the Supervisor of its place.
//
// The session with a worker is accessible only through a Lease, so that a type shows
// who may use it.
//
// Workers have a generation. Requests made for one generation may be refused by
// another, so when a replacement changes the generation, one old worker is retained
// for RetainTime: it is draining, and serves only callers that accept such workers.
package pool

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Worker is a worker that was started. Its three parts are for three parties.
type Worker[G comparable, W any] struct {
	// Session is for the holder of the lease alone.
	Session W
	// Process is for the pool.
	Process Process
	// Generation is for those that choose a worker. It never changes.
	Generation G
}

// Process is the life of a worker. Its methods are safe for concurrent use.
type Process interface {
	// Ended is closed when the worker is gone.
	Ended() <-chan struct{}
	// Finish asks a worker that serves nothing to end.
	Finish()
	// Kill ends the worker at once.
	Kill()
}

// Supervisor starts the workers of one place and decides about them. Its methods
// are called by one goroutine. All but Start are about the worker that it has
// started last.
type Supervisor[G comparable, W any] interface {
	// Start starts a worker and returns once it can serve. If replacing is not empty,
	// the worker replaces one that still works, for this reason. Callers get the error
	// while there is no worker.
	Start(ctx context.Context, replacing string) (Worker[G, W], error)
	// Outdated returns why the worker should be replaced, or "". It is called every
	// PollInterval.
	Outdated() (reason string)
	// Check may check the worker, which is idle. It is called every PollInterval. The
	// pool returns the lease.
	Check(ctx context.Context, lease *Lease[G, W])
	// Ended is called when the worker has ended and the pool has not ended it.
	Ended()
}

// Options configure a pool.
type Options struct {
	// Places is how many workers there are. While one is replaced there is one more.
	Places int
	// PollInterval is the time between two polls of each worker.
	PollInterval time.Duration
	// FinishTimeout is how long a worker that was replaced may take for its last
	// request before it is killed.
	FinishTimeout time.Duration
}

// Pool is a set of workers. It is safe for concurrent use.
type Pool[G comparable, W any] struct {
	options Options
	// replacing is held by the place that replaces a worker, so that there is at most
	// one worker too many.
	replacing chan struct{}
	stop      context.CancelFunc
	running   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	lastID  ID
	live    []*member[G, W] // added and not removed
	idle    []*member[G, W] // those of them that are not leased, the longest idle first
	waiting []*waiter[G, W]
	// failures has, for each place, why it has no worker; nil while it has one, or
	// is starting one for the first time after an end.
	failures []error
}

// ID names a worker of a pool. It is never used again.
type ID uint64

// Candidate describes a worker to callers that choose one.
type Candidate[G comparable] struct {
	ID         ID
	Generation G
	// Draining is whether the worker was replaced and is retained for requests that
	// were made for its generation.
	Draining bool
}

// member is a worker in a pool. Candidate.Draining is guarded by the pool's mutex.
type member[G comparable, W any] struct {
	Candidate[G]
	place   int
	session W
	process Process
}

// waiter waits for a worker.
type waiter[G comparable, W any] struct {
	accept func(Candidate[G]) bool
	result chan *member[G, W] // receives the worker, or nil if none can come
}

// ErrUnsatisfiable means that the pool has no worker that the caller accepts, and
// that none is being started.
var ErrUnsatisfiable = errors.New("no worker is left that could serve the request")

// ErrClosed means that the pool was closed.
var ErrClosed = errors.New("the pool of workers is closed")

// StartError is why there is no worker.
type StartError struct{ Err error }

func (e *StartError) Error() string { return "no worker could be started: " + e.Err.Error() }
func (e *StartError) Unwrap() error { return e.Err }

// Start returns a pool and starts its workers. It does not wait for them.
// supervisor returns that of a place.
func Start[G comparable, W any](o Options, supervisor func(place int) Supervisor[G, W]) *Pool[G, W] {
	p := newPool[G, W](o)
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	for number := range o.Places {
		place := place[G, W]{pool: p, number: number, supervisor: supervisor(number)}
		p.running.Go(func() { place.run(ctx) })
	}
	return p
}

func newPool[G comparable, W any](o Options) *Pool[G, W] {
	return &Pool[G, W]{options: o, replacing: make(chan struct{}, 1), failures: make([]error, o.Places)}
}

// Close kills all workers, also those that are leased, and waits for their end.
func (p *Pool[G, W]) Close() {
	p.stop()
	p.mu.Lock()
	p.closed = true
	p.dismiss()
	p.mu.Unlock()
	p.running.Wait()
}

// Len returns the number of workers, leased or not.
func (p *Pool[G, W]) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.live)
}

// Take leases the longest idle worker that accept accepts, and waits for one if
// necessary, until ctx is done. Callers are served in the order of their arrival.
// accept must be quick and must not use the pool. If no such worker can come, the
// error is a *StartError, or ErrUnsatisfiable.
func (p *Pool[G, W]) Take(ctx context.Context, accept func(Candidate[G]) bool) (*Lease[G, W], error) {
	p.mu.Lock()
	if i := slices.IndexFunc(p.idle, func(m *member[G, W]) bool { return accept(m.Candidate) }); i >= 0 {
		m := p.idle[i]
		p.idle = slices.Delete(p.idle, i, i+1)
		p.mu.Unlock()
		return newLease(p, m), nil
	}
	if err := p.unsatisfiable(accept); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	w := &waiter[G, W]{accept: accept, result: make(chan *member[G, W], 1)}
	p.waiting = append(p.waiting, w)
	p.mu.Unlock()

	select {
	case m := <-w.result:
		return p.granted(m)
	case <-ctx.Done():
	}
	p.mu.Lock()
	p.waiting = slices.DeleteFunc(p.waiting, func(other *waiter[G, W]) bool { return other == w })
	p.mu.Unlock()
	select {
	case m := <-w.result: // at the last moment
		if m != nil {
			newLease(p, m).Return()
		}
	default:
	}
	return nil, ctx.Err()
}

// granted makes a lease of what a waiter has received.
func (p *Pool[G, W]) granted(m *member[G, W]) (*Lease[G, W], error) {
	if m == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		return nil, p.failure()
	}
	return newLease(p, m), nil
}

// takeIdle leases a worker if it is idle.
func (p *Pool[G, W]) takeIdle(m *member[G, W]) (*Lease[G, W], bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.unlist(m) {
		return nil, false
	}
	return newLease(p, m), true
}

// add adds the worker of a place.
func (p *Pool[G, W]) add(place int, w Worker[G, W]) *member[G, W] {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastID++
	m := &member[G, W]{
		Candidate: Candidate[G]{ID: p.lastID, Generation: w.Generation},
		place:     place, session: w.Session, process: w.Process,
	}
	p.live = append(p.live, m)
	p.failures[place] = nil
	p.release(m)
	return m
}

// remove takes a worker out of the pool. It reports whether the worker was idle; if
// not, the holder of its lease finishes it on return.
func (p *Pool[G, W]) remove(m *member[G, W]) (wasIdle bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.live, m); i >= 0 {
		p.live = slices.Delete(p.live, i, i+1)
	}
	wasIdle = p.unlist(m)
	p.dismiss()
	return wasIdle
}

// giveBack ends a lease. It reports whether the worker is still in the pool.
func (p *Pool[G, W]) giveBack(m *member[G, W]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.live, m) {
		return false
	}
	p.release(m)
	return true
}

// retain makes a worker draining. It reports false, and does nothing, if another one
// is draining already: one is enough for the requests of a few seconds.
func (p *Pool[G, W]) retain(m *member[G, W]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.ContainsFunc(p.live, func(other *member[G, W]) bool { return other.Draining }) {
		return false
	}
	m.Draining = true
	p.dismiss()
	return true
}

// retire ends a worker that was replaced, after its last request. If the one that
// replaces it is of another generation, the worker may be retained for a while.
func (p *Pool[G, W]) retire(ctx context.Context, m *member[G, W], next G) {
	if m.Generation != next && p.retain(m) {
		await(ctx, m.process.Ended(), retainTime)
	}
	if p.remove(m) {
		m.process.Finish()
	}
	await(ctx, m.process.Ended(), p.options.FinishTimeout)
	m.process.Kill()
	<-m.process.Ended()
}

// isCurrent reports whether a worker is in the pool and not draining.
func (p *Pool[G, W]) isCurrent(m *member[G, W]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !m.Draining && slices.Contains(p.live, m)
}

// fail notes why a place has no worker.
func (p *Pool[G, W]) fail(place int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures[place] = &StartError{err}
	p.dismiss()
}

// release gives a worker to the first caller that waits for it, or makes it idle.
// The mutex is held.
func (p *Pool[G, W]) release(m *member[G, W]) {
	for i, w := range p.waiting {
		if w.accept(m.Candidate) {
			p.waiting = slices.Delete(p.waiting, i, i+1)
			w.result <- m
			return
		}
	}
	p.idle = append(p.idle, m)
}

// unlist removes a worker from the idle ones. It reports whether it was there. The
// mutex is held.
func (p *Pool[G, W]) unlist(m *member[G, W]) bool {
	i := slices.Index(p.idle, m)
	if i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	return i >= 0
}

// unsatisfiable returns why no worker can come that accept accepts, or nil if one
// can. The mutex is held.
func (p *Pool[G, W]) unsatisfiable(accept func(Candidate[G]) bool) error {
	if p.closed {
		return ErrClosed
	}
	occupied := make([]bool, len(p.failures))
	for _, m := range p.live {
		if accept(m.Candidate) {
			return nil
		}
		occupied[m.place] = occupied[m.place] || !m.Draining
	}
	for place, err := range p.failures {
		if err == nil && !occupied[place] {
			return nil // a worker is being started
		}
	}
	return p.failure()
}

// failure returns why there is no worker. The mutex is held.
func (p *Pool[G, W]) failure() error {
	if p.closed {
		return ErrClosed
	}
	for _, err := range p.failures {
		if err != nil {
			return err
		}
	}
	return ErrUnsatisfiable
}

// dismiss ends the wait of callers that have become unsatisfiable. The mutex is
// held.
func (p *Pool[G, W]) dismiss() {
	p.waiting = slices.DeleteFunc(p.waiting, func(w *waiter[G, W]) bool {
		if p.unsatisfiable(w.accept) == nil {
			return false
		}
		w.result <- nil
		return true
	})
}
