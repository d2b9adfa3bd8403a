package aesm

import (
	"math"
	"sync"
	"time"
)

// conn is an open connection.
type conn struct {
	caller  Caller
	account *account

	older, newer *conn // in its list
	open         bool  // it is in the table
	waiting      bool  // its request is not served yet
	unread       bool  // it is over, but for a reply that the client has not read
	bytes        int   // memory reserved for its request
	owed         int   // memory reserved for its reply, and later what the reply takes
	owing        bool  // it counts among the replies that are owed
	closed       Drop  // why the table closed it

	// See room.go.
	entering bool          // it waits for others of its peer to end
	asks     int           // memory for its reply, for which it waits
	refused  bool          // it gets no other reply than that the server is busy
	room     chan struct{} // closed at the end of the wait, nil if it has not waited
	roomBy   time.Time     // the end of all waits
}

// usage is how much is in use: by one peer, or by all of them.
type usage struct{ conns, bytes int }

// account is what one peer uses.
type account struct {
	key    string // of the peer
	share  int    // the divisor for its part of each limit
	used   usage
	owed   usage    // replies that it has requested and not read yet
	unread connList // its connections that are over, but for an unread reply

	// See room.go. The first to come is the first in each list.
	active   int     // connections that are not entering
	entering []*conn // new connections that wait for others to end
	asking   []*conn // connections whose request waits for replies to be read
	refusals int     // unread replies that the server is busy
}

// conns is the table of the open connections of a Serve call, in the order of their
// arrival. It enforces the limits of the server. Connections whose reply is unread
// count like others; replies.go is about them, and room.go about those that wait because
// their peer is at a limit.
type conns struct {
	max      usage // of all together
	maxOwed  usage // replies that are owed to all together
	identity bool  // peers are identified

	mu       sync.Mutex
	freed    *sync.Cond // signals that the table has changed
	used     usage
	owed     usage
	accounts map[string]*account
	arrivals connList              // the connections that are not over yet
	askers   map[*account]struct{} // those with requests that wait for replies to be read
	sweeper  *time.Timer           // nil until a reply was unread
	unread   int                   // connections whose reply is unread
	stopAt   time.Time             // deadline for all requests once the server stops
	refusing bool                  // a new connection does not wait for another to end
	cutOff   bool                  // no new connections at all
	over     bool                  // unread replies are not kept any more
}

func newConns(max, maxOwed usage, identity bool) *conns {
	t := &conns{max: max, maxOwed: maxOwed, identity: identity, accounts: make(map[string]*account), askers: make(map[*account]struct{})}
	t.freed = sync.NewCond(&t.mu)
	return t
}

// connList is a list of connections, the oldest first.
type connList struct{ oldest, newest *conn }

// push adds a connection as the newest.
func (l *connList) push(c *conn) {
	c.older, c.newer = l.newest, nil
	if c.older != nil {
		c.older.newer = c
	} else {
		l.oldest = c
	}
	l.newest = c
}

// remove removes a connection. Its newer stays: a loop may be standing on it.
func (l *connList) remove(c *conn) {
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		l.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		l.newest = c.older
	}
}

// add adds a new connection and makes room for it.
//
// If its peer is at its limit, the new connection waits in enter. If as many wait there,
// add closes the peer's oldest connection that still waits for its request. If there is
// none, the new connection is refused.
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
	limit := t.limit(a).conns
	a.used.conns++
	if a.active >= limit {
		t.sweep(a)
	}
	if len(a.entering) >= limit && !t.evictActive(a) {
		t.leave(a)
		return nil, DropRefused
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
	c = &conn{caller: caller, account: a, waiting: true, open: true}
	t.used.conns++
	t.arrivals.push(c)
	if a.active < limit {
		a.active++
	} else {
		t.beginEntering(c)
	}
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
		a = &account{key: key, share: t.shareOf(p)}
		t.accounts[key] = a
	}
	return a
}

// shareOf returns the divisor for a peer's part of each limit.
func (t *conns) shareOf(p Peer) int {
	if !t.identity {
		return 1
	}
	if r, ok := p.(RestrictedPeer); ok && r.Restricted() {
		return restrictedShare
	}
	return peerShare
}

// limit returns what a peer may use.
func (t *conns) limit(a *account) usage {
	if !t.identity {
		return usage{math.MaxInt, math.MaxInt}
	}
	return usage{max(t.max.conns/a.share, 1), t.max.bytes / a.share}
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
	for c.account.used.bytes+n > t.limit(c.account).bytes {
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

// arrived notes that the request of a connection never will arrive. From then on the
// connection is not closed to make room. It returns why the table has closed the
// connection, if it has.
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
	for c := t.arrivals.oldest; c != nil; c = c.newer {
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

// unlink removes a connection from the table, if it is still there.
func (t *conns) unlink(c *conn) {
	if !c.open {
		return
	}
	if c.unread {
		c.account.unread.remove(c)
		t.unread--
	} else {
		t.arrivals.remove(c)
	}
	if c.entering {
		t.stopEntering(c)
	} else {
		c.account.active--
	}
	if c.asks > 0 {
		t.stopAsking(c)
	}
	c.open, c.waiting = false, false
	t.used.conns--
	t.used.bytes -= c.bytes
	c.account.used.bytes -= c.bytes
	t.settle(c)
	t.leave(c.account)
	t.admit(c.account)
	t.lendAll()
	t.freed.Broadcast()
}

// stop sets a deadline for the requests that have not arrived yet.
func (t *conns) stop(deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopAt = deadline
	for c := t.arrivals.oldest; c != nil; c = c.newer {
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
	n := t.used.conns - t.unread
	for c := t.arrivals.oldest; c != nil; c = c.newer {
		t.close(c, DropStopped)
	}
	t.freed.Broadcast()
	return n
}
