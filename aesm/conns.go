package aesm

import (
	"sync"
	"time"
)

// conn is an open connection and where it stands.
type conn struct {
	Caller
	peer *peer

	older, newer *conn // in the table
	open         bool  // it is in the table
	waiting      bool  // its request is not here yet
	bytes        int   // that it may hold
	closed       Drop  // why the table closed it
}

// usage is how much is in use: by one peer, or by all of them.
type usage struct{ conns, bytes int }

// peer is one that has connections.
type peer struct {
	name string
	used usage
}

// conns are the open connections of a Serve call and what they may use.
type conns struct {
	max     usage // of all together
	maxPeer usage // of the connections of one peer

	mu             sync.Mutex
	freed          *sync.Cond // signals that the table has changed
	used           usage
	peers          map[string]*peer
	oldest, newest *conn
	stopAt         time.Time // when requests have to be here at the latest, once set
	impatient      bool      // a new connection does not wait for another to end
	cutOff         bool      // no more connections
}

func newConns(max, maxPeer usage) *conns {
	t := &conns{max: max, maxPeer: maxPeer, peers: make(map[string]*peer)}
	t.freed = sync.NewCond(&t.mu)
	return t
}

// add makes room for a new connection. Where its peer has as many as it may, the
// peer's oldest one that waits for its request goes, and where there is none, the
// new one is refused. Where the table is full, the oldest one goes that waits for
// its request, of the peer that has the most connections if possible; where there
// is none, add waits for an exchange to end. It is nil when the connection is
// refused or the table is cut off.
func (t *conns) add(caller Caller) (c *conn, why Drop) {
	name := ""
	if caller.Peer != nil {
		name = caller.Peer.Key()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[name]
	if p == nil {
		p = &peer{name: name}
		t.peers[name] = p
	}
	p.used.conns++
	for p.used.conns > t.maxPeer.conns {
		if !t.evict(func(c *conn) bool { return c.peer == p }) {
			t.leave(p)
			return nil, DropRefused
		}
	}
	for t.used.conns >= t.max.conns && !t.cutOff && !t.evictOfMost() {
		if t.impatient {
			t.leave(p)
			return nil, DropStopped
		}
		t.freed.Wait()
	}
	if t.cutOff {
		t.leave(p)
		return nil, DropStopped
	}
	c = &conn{Caller: caller, peer: p, waiting: true}
	t.append(c)
	return c, NotDropped
}

// reserve lets a connection hold n bytes more. Where its peer, or all together,
// have too many, the oldest connections that wait for the rest of their request
// go. It is false where that does not help.
func (t *conns) reserve(c *conn, n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c.peer.used.bytes+n > t.maxPeer.bytes {
		if !t.evict(func(o *conn) bool { return o != c && o.bytes > 0 && o.peer == c.peer }) {
			return false
		}
	}
	for t.used.bytes+n > t.max.bytes {
		if !t.evict(func(o *conn) bool { return o != c && o.bytes > 0 }) {
			return false
		}
	}
	c.bytes += n
	c.peer.used.bytes += n
	t.used.bytes += n
	return true
}

// arrived says that the request of a connection is here, or will not come. From
// now on the connection makes room for nobody. It returns why the table has closed
// the connection, if it has.
func (t *conns) arrived(c *conn) Drop {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.waiting = false
	return c.closed
}

// state returns why the table has closed a connection, if it has.
func (t *conns) state(c *conn) Drop {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.closed
}

// readBy sets the deadline for reading, or an earlier one where the table was
// stopped.
func (t *conns) readBy(c *conn, deadline time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopAt.IsZero() && t.stopAt.Before(deadline) {
		deadline = t.stopAt
	}
	return c.socket.SetReadDeadline(deadline)
}

// stopped tells whether the table was stopped.
func (t *conns) stopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.stopAt.IsZero()
}

// shed closes the oldest connection that waits for its request, if any.
func (t *conns) shed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.evictOfMost()
}

// evictOfMost closes the oldest connection that waits for its request: one of the
// peer that has the most connections or, where that one has none such, any.
func (t *conns) evictOfMost() bool {
	var most *peer
	for _, p := range t.peers {
		if most == nil || p.used.conns > most.used.conns {
			most = p
		}
	}
	return t.evict(func(c *conn) bool { return c.peer == most }) || t.evict(func(*conn) bool { return true })
}

// waitNoMore has new connections that find no room closed rather than wait: the
// end is near.
func (t *conns) waitNoMore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.impatient = true
	t.freed.Broadcast()
}

// evict closes the oldest connection of those that wait for their request and
// that are meant. The search is long only where somebody floods us, and then no
// longer than the table is.
func (t *conns) evict(meant func(*conn) bool) bool {
	for c := t.oldest; c != nil; c = c.newer {
		if c.waiting && meant(c) {
			t.close(c, DropEvicted)
			return true
		}
	}
	return false
}

// close takes a connection out of the table and ends its read or write.
func (t *conns) close(c *conn, why Drop) {
	c.closed = why
	t.forget(c)
	c.socket.Close()
}

// remove says that a connection has ended.
func (t *conns) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(c)
}

// append puts a connection into the table, as the newest.
func (t *conns) append(c *conn) {
	c.open = true
	t.used.conns++
	c.older = t.newest
	if c.older != nil {
		c.older.newer = c
	} else {
		t.oldest = c
	}
	t.newest = c
}

// forget takes a connection out of the table, if it is there.
func (t *conns) forget(c *conn) {
	if !c.open {
		return
	}
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		t.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		t.newest = c.older
	}
	// What it leads to stays: who goes through the table may stand on it.
	c.open, c.waiting = false, false
	t.used.conns--
	t.used.bytes -= c.bytes
	c.peer.used.bytes -= c.bytes
	t.leave(c.peer)
	t.freed.Broadcast()
}

// leave says that a peer has a connection less.
func (t *conns) leave(p *peer) {
	p.used.conns--
	if p.used.conns == 0 {
		delete(t.peers, p.name)
	}
}

// stop gives the connections that wait for their request until a deadline.
func (t *conns) stop(deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopAt = deadline
	for c := t.oldest; c != nil; c = c.newer {
		if c.waiting {
			c.socket.SetReadDeadline(deadline)
		}
	}
}

// cut closes all connections that are left, lets no new ones in, and returns how
// many they were.
func (t *conns) cut() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cutOff = true
	n := t.used.conns
	for c := t.oldest; c != nil; c = c.newer {
		t.close(c, DropStopped)
	}
	t.freed.Broadcast()
	return n
}
