package aesm

import (
	"sync"
	"time"
)

// conn is an open connection.
type conn struct {
	caller  Caller
	account *account

	older, newer *conn // in the table
	open         bool  // it is in the table
	waiting      bool  // its request has not arrived yet
	bytes        int   // memory reserved for its request
	closed       Drop  // why the table closed it
}

// usage is how much is in use: by one peer, or by all of them.
type usage struct{ conns, bytes int }

// account is what one peer uses.
type account struct {
	key  string // of the peer
	used usage
}

// conns is the table of the open connections of a Serve call, in the order of their
// arrival. It enforces the limits of the server.
type conns struct {
	max     usage // of all together
	maxPeer usage // of the connections of one peer

	mu             sync.Mutex
	freed          *sync.Cond // signals that the table has changed
	used           usage
	accounts       map[string]*account
	oldest, newest *conn
	stopAt         time.Time // deadline for all requests once the server stops
	refusing       bool      // a new connection does not wait for another to end
	cutOff         bool      // no new connections at all
}

func newConns(max, maxPeer usage) *conns {
	t := &conns{max: max, maxPeer: maxPeer, accounts: make(map[string]*account)}
	t.freed = sync.NewCond(&t.mu)
	return t
}

// add adds a new connection and makes room for it.
//
// If its peer is at its limit, add closes the peer's oldest connection that still
// waits for its request. If there is none, the new connection is refused.
//
// If the table is full, add closes the oldest connection that waits for its
// request, preferably of the peer with the most connections. If there is none, add
// waits for an exchange to end.
//
// c is nil if the connection is refused or the server stops.
func (t *conns) add(caller Caller) (c *conn, why Drop) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.account(caller.Peer)
	a.used.conns++
	for a.used.conns > t.maxPeer.conns {
		if !t.evict(func(c *conn) bool { return c.account == a }) {
			t.leave(a)
			return nil, DropRefused
		}
	}
	for t.used.conns >= t.max.conns && !t.cutOff && !t.evictOfMost() {
		if t.refusing {
			t.leave(a)
			return nil, DropStopped
		}
		t.freed.Wait()
	}
	if t.cutOff {
		t.leave(a)
		return nil, DropStopped
	}
	c = &conn{caller: caller, account: a, waiting: true}
	t.append(c)
	return c, NotDropped
}

// account returns the account of a peer, a new one if it has no connection.
func (t *conns) account(p Peer) *account {
	key := ""
	if p != nil {
		key = p.Key()
	}
	a := t.accounts[key]
	if a == nil {
		a = &account{key: key}
		t.accounts[key] = a
	}
	return a
}

// leave counts a connection less for an account.
func (t *conns) leave(a *account) {
	a.used.conns--
	if a.used.conns == 0 {
		delete(t.accounts, a.key)
	}
}

// reserve reserves n more bytes for a connection. If its peer, or all peers
// together, exceed their limit, it closes the oldest connections that have sent only
// a part of their request. It reports whether there is enough.
func (t *conns) reserve(c *conn, n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c.account.used.bytes+n > t.maxPeer.bytes {
		if !t.evict(func(o *conn) bool { return o != c && o.bytes > 0 && o.account == c.account }) {
			return false
		}
	}
	for t.used.bytes+n > t.max.bytes {
		if !t.evict(func(o *conn) bool { return o != c && o.bytes > 0 }) {
			return false
		}
	}
	c.bytes += n
	c.account.used.bytes += n
	t.used.bytes += n
	return true
}

// arrived notes that the request of a connection has arrived, or never will. From
// then on the connection is not closed to make room. It returns why the table has
// closed the connection, if it has.
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

// readBy sets the deadline for reading; once the server stops, an earlier one.
func (t *conns) readBy(c *conn, deadline time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopAt.IsZero() && t.stopAt.Before(deadline) {
		deadline = t.stopAt
	}
	return c.caller.socket.SetReadDeadline(deadline)
}

// stopped reports whether the server stops.
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
// peer with the most connections or, if that peer has none, any.
func (t *conns) evictOfMost() bool {
	var most *account
	for _, a := range t.accounts {
		if most == nil || a.used.conns > most.used.conns {
			most = a
		}
	}
	return t.evict(func(c *conn) bool { return c.account == most }) || t.evict(func(*conn) bool { return true })
}

// refuseWhenFull makes add refuse new connections instead of waiting for room.
func (t *conns) refuseWhenFull() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refusing = true
	t.freed.Broadcast()
}

// evict closes the oldest connection that waits for its request and matches, and
// reports whether there was one. Only during a flood is the search long, and it is
// bounded by the size of the table.
func (t *conns) evict(matches func(*conn) bool) bool {
	for c := t.oldest; c != nil; c = c.newer {
		if c.waiting && matches(c) {
			t.close(c, DropEvicted)
			return true
		}
	}
	return false
}

// close removes a connection from the table and interrupts its read or write.
func (t *conns) close(c *conn, why Drop) {
	c.closed = why
	t.unlink(c)
	c.caller.socket.Close()
}

// remove removes a connection that has ended.
func (t *conns) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unlink(c)
}

// append adds a connection to the table as the newest.
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

// unlink removes a connection from the table, if it is still there.
func (t *conns) unlink(c *conn) {
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
	// c.newer stays: evict and cut may be standing on c.
	c.open, c.waiting = false, false
	t.used.conns--
	t.used.bytes -= c.bytes
	c.account.used.bytes -= c.bytes
	t.leave(c.account)
	t.freed.Broadcast()
}

// stop sets a deadline for the requests that have not arrived yet.
func (t *conns) stop(deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopAt = deadline
	for c := t.oldest; c != nil; c = c.newer {
		if c.waiting {
			c.caller.socket.SetReadDeadline(deadline)
		}
	}
}

// cut closes all remaining connections, lets no new ones in, and returns how many
// there were.
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
