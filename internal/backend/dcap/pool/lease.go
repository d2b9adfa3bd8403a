package pool

import "sync/atomic"

// Lease is the right to use a worker, which nobody else has until it is returned.
type Lease[G comparable, W any] struct {
	pool     *Pool[G, W]
	member   *member[G, W]
	returned atomic.Bool
}

func newLease[G comparable, W any](p *Pool[G, W], m *member[G, W]) *Lease[G, W] {
	return &Lease[G, W]{pool: p, member: m}
}

// Session returns the session with the worker. It must not be used after Return.
func (l *Lease[G, W]) Session() W { return l.member.session }

// ID returns the name of the worker in the pool.
func (l *Lease[G, W]) ID() ID { return l.member.ID }

// Generation returns the generation of the worker.
func (l *Lease[G, W]) Generation() G { return l.member.Generation }

// IsCurrent reports whether the worker still has its place: it was neither
// discarded nor replaced.
func (l *Lease[G, W]) IsCurrent() bool { return l.pool.isCurrent(l.member) }

// Discard takes the worker out of the pool: nobody gets it any more. The caller
// ends it.
func (l *Lease[G, W]) Discard() { l.pool.remove(l.member) }

// Return ends the lease. A worker that is no longer in the pool is asked to end.
// Only the first call has an effect.
func (l *Lease[G, W]) Return() {
	if l.returned.Swap(true) {
		return
	}
	if !l.pool.giveBack(l.member) {
		l.member.process.Finish()
	}
}
