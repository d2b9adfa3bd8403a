package upstream

import (
	"context"
	"errors"
	"sync"
)

// sizeCache holds the length of quotes in bytes. While it is unknown, one caller asks
// the daemon on behalf of all.
//
// The cached length may be outdated, since a daemon can restart between two requests.
// That does no harm: a quote that needs more room is refused, and one that needs less
// shows its length.
type sizeCache struct {
	mu    sync.Mutex
	size  int    // 0 if unknown
	query *query // in progress, or nil
}

// query is a request for the size by one caller, whose result others wait for.
type query struct {
	done chan struct{} // closed when the fields below are set
	size int
	err  error
}

// get returns the length. If it is unknown, get calls ask, unless another caller is
// already asking: then it waits for that result and shares it, even if it is a
// refusal. If the other caller got no reply in its time, the next one asks. The error
// is that of ctx if it ends meanwhile.
func (c *sizeCache) get(ctx context.Context, ask func() (int, error)) (int, error) {
	for {
		size, q, mine := c.lookup()
		switch {
		case size != 0:
			return size, nil
		case mine:
			return c.run(q, ask)
		}
		select {
		case <-q.done:
			if !unanswered(q.err) {
				return q.size, q.err
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// lookup returns the length if it is known, and otherwise the query in progress. If
// there is none, it starts one, which is then the caller's to run.
func (c *sizeCache) lookup() (size int, q *query, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size != 0 || c.query != nil {
		return c.size, c.query, false
	}
	c.query = &query{done: make(chan struct{})}
	return 0, c.query, true
}

// run runs a query and publishes its result, even if ask panics.
func (c *sizeCache) run(q *query, ask func() (int, error)) (int, error) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.query = nil
		if q.err == nil {
			c.size = q.size
		}
		close(q.done)
	}()
	q.err = errors.New("upstream: panic while asking for the size of a quote")
	q.size, q.err = ask()
	return q.size, q.err
}

// set stores a length that the daemon has returned.
func (c *sizeCache) set(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size = size
}

// forget makes the next caller ask.
func (c *sizeCache) forget() { c.set(0) }

// drop forgets a length that the daemon has refused, unless a newer one is known.
func (c *sizeCache) drop(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size == size {
		c.size = 0
	}
}
