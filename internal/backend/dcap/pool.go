package dcap

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// pool is the workers that can be asked, each by one at a time.
type pool struct {
	mu      sync.Mutex
	live    []*worker // that were added and not removed
	idle    []*worker // those of them that nobody has taken, the one that has rested longest first
	waiting []*taker
	slots   map[int]error // by number: why there is no worker; nil while one is, or is on its way
}

// taker waits for a worker.
type taker struct {
	accept func(*worker) bool
	given  chan *worker // receives it, or nil when there is no hope for one
}

// errNoWorker is returned by take where no worker is to be had.
var errNoWorker = errors.New("no worker is left that could be asked")

func newPool(slots int) *pool {
	p := &pool{slots: make(map[int]error, slots)}
	for number := range slots {
		p.slots[number] = nil
	}
	return p
}

// add offers a new worker.
func (p *pool) add(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live = append(p.live, w)
	p.slots[w.number] = nil
	p.offer(w)
}

// remove has nobody take a worker any more. It is false where somebody has it
// now, who will find out.
func (p *pool) remove(w *worker) (wasIdle bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.live, w); i >= 0 {
		p.live = slices.Delete(p.live, i, i+1)
	}
	wasIdle = p.unlist(w)
	p.tellHopeless()
	return wasIdle
}

// fail notes why a slot has no worker.
func (p *pool) fail(slot int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slots[slot] = err
	p.tellHopeless()
}

// offer gives a worker to the first one who waits for it. The lock is held.
func (p *pool) offer(w *worker) {
	for i, t := range p.waiting {
		if t.accept(w) {
			p.waiting = slices.Delete(p.waiting, i, i+1)
			t.given <- w
			return
		}
	}
	p.idle = append(p.idle, w)
}

// unlist takes a worker from the idle ones, if it is there. The lock is held.
func (p *pool) unlist(w *worker) bool {
	i := slices.Index(p.idle, w)
	if i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	return i >= 0
}

// take waits for a worker that accept takes, which has to be given back. Accept
// must be quick. If no worker is there that could come free, nor on its way, the
// error is that of the last one that did not start, or errNoWorker.
func (p *pool) take(ctx context.Context, accept func(*worker) bool) (*worker, error) {
	p.mu.Lock()
	if i := slices.IndexFunc(p.idle, accept); i >= 0 {
		w := p.idle[i]
		p.idle = slices.Delete(p.idle, i, i+1)
		p.mu.Unlock()
		return w, nil
	}
	if err := p.hopeless(accept); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	t := &taker{accept: accept, given: make(chan *worker, 1)}
	p.waiting = append(p.waiting, t)
	p.mu.Unlock()

	select {
	case w := <-t.given:
		if w == nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			return nil, p.reason()
		}
		return w, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	if i := slices.Index(p.waiting, t); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	p.mu.Unlock()
	select {
	case w := <-t.given: // in the last moment
		if w != nil {
			p.give(w)
		}
	default:
	}
	return nil, ctx.Err()
}

// takeThis takes one certain worker, if it is idle.
func (p *pool) takeThis(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unlist(w)
}

// elect keeps a worker for the reports that were made for its target, which the
// new workers have not. It is false where another one is kept for them already.
func (p *pool) elect(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, other := range p.live {
		if other.elder.Load() {
			return false
		}
	}
	w.elder.Store(true)
	return true
}

// give gives a worker back. It is false where it was removed meanwhile.
func (p *pool) give(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.live, w) {
		return false
	}
	p.offer(w)
	return true
}

// has tells whether a worker was not removed.
func (p *pool) has(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.live, w)
}

// size is how many workers there are.
func (p *pool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.live)
}

// hopeless tells why no worker will come that accept takes, or nil where one may.
// The lock is held.
func (p *pool) hopeless(accept func(*worker) bool) error {
	if slices.ContainsFunc(p.live, accept) {
		return nil
	}
	for number, err := range p.slots {
		// A slot that has no worker and no failure is about to have one.
		if err == nil && !slices.ContainsFunc(p.live, func(w *worker) bool { return w.number == number && !w.elder.Load() }) {
			return nil
		}
	}
	return p.reason()
}

// reason is why there are no workers. The lock is held.
func (p *pool) reason() error {
	for _, err := range p.slots {
		if err != nil {
			return err
		}
	}
	return errNoWorker
}

// tellHopeless ends the wait of all for whom there is no hope any more. The lock
// is held.
func (p *pool) tellHopeless() {
	p.waiting = slices.DeleteFunc(p.waiting, func(t *taker) bool {
		if p.hopeless(t.accept) == nil {
			return false
		}
		t.given <- nil
		return true
	})
}
