package aesm

import (
	"fmt"
	"slices"
	"time"
)

// A peer that has reached its limits waits for room before it loses anything: a new
// connection for one of the peer's others to end, and a request for replies to be read.
// Such a connection is only a goroutine and a small request, and it can still be closed to
// make room for others.

// roomTimeout bounds these waits of a connection, all together. A client gives up after 15
// seconds, of which a Handler may take ten.
const roomTimeout = 4 * time.Second

// await waits until a connection has the room that it waits for or was closed, but no
// longer than roomTimeout.
func (c *conn) await() {
	timer := time.NewTimer(time.Until(c.roomBy))
	defer timer.Stop()
	select {
	case <-c.room:
	case <-timer.C:
	}
}

// wait has a connection wait for room.
func (c *conn) wait() {
	c.room = make(chan struct{})
	if c.roomBy.IsZero() {
		c.roomBy = time.Now().Add(roomTimeout)
	}
}

// enter waits until one of its peer's connections has ended for a new one that add has
// found no room for. If none ends in time, enter closes the oldest of them that waits for
// its request or, if there is none, the new one. It returns why the table has closed the
// connection, if it has.
func (t *conns) enter(c *conn) Drop {
	c.await()
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := c.account; c.entering {
		a.entering = append([]*conn{c}, without(a.entering, c)...) // the room is for this one
		if !t.evictActive(a) {
			t.close(c, DropRefused)
		}
	}
	return c.closed
}

// evictActive closes the oldest connection of a peer that waits for its request and not
// for others to end. It reports whether there was one.
func (t *conns) evictActive(a *account) bool {
	return t.evict(func(c *conn) bool { return c.account == a && !c.entering })
}

// owe notes that the request of a connection has arrived, and reserves memory for the
// reply. If the peer has requested too many replies that it has not read, owe waits until
// some are read.
//
// The connection is closed or to be closed if closed is not NotDropped. Otherwise an error
// says that there is only room for the answer that the server is busy.
func (t *conns) owe(c *conn, bytes int) (closed Drop, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.closed != NotDropped {
		return c.closed, nil
	}
	a := c.account
	if t.lend(c, bytes) {
		return NotDropped, nil
	}
	if t.sweep(a); t.lend(c, bytes) {
		return NotDropped, nil
	}
	t.ask(c, bytes)
	t.mu.Unlock()
	c.await()
	t.mu.Lock()
	if c.closed != NotDropped || c.owing {
		return c.closed, nil
	}
	t.stopAsking(c)
	err = fmt.Errorf("aesm: the peer has %d requests whose replies it has not read, with %d bytes of memory for them: %w", a.owed.conns, a.owed.bytes, CodeBusy)
	if !t.mayRefuse(a) {
		c.waiting = false
		return DropRefused, err
	}
	c.refused = true
	a.refusals++
	t.reserveReply(c, replyOverhead)
	return NotDropped, err
}

// lend reserves memory for the reply to a request, if its peer may have it now and has no
// earlier request that waits for that. It reports whether it has.
func (t *conns) lend(c *conn, bytes int) bool {
	a := c.account
	if len(a.asking) > 0 && a.asking[0] != c || !t.mayOwe(a, bytes) {
		return false
	}
	t.reserveReply(c, bytes)
	return true
}

// reserveReply reserves memory for a reply. From then on the connection is not closed to
// make room.
func (t *conns) reserveReply(c *conn, bytes int) {
	c.waiting, c.owing, c.owed = false, true, bytes
	t.count(c, 1, bytes)
}

// admit has connections of a peer begin that have waited for others to end.
func (t *conns) admit(a *account) {
	for len(a.entering) > 0 && a.active < t.limit(a).conns {
		a.active++
		t.stopEntering(a.entering[0])
	}
}

// lendAll has requests proceed that have waited for replies to be read: of any peer, since
// what a peer may have depends on what all have.
func (t *conns) lendAll() {
	for a := range t.askers {
		for len(a.asking) > 0 {
			c := a.asking[0]
			if !t.lend(c, c.asks) {
				break
			}
			t.stopAsking(c)
		}
	}
}

// beginEntering has a new connection wait for others of its peer to end.
func (t *conns) beginEntering(c *conn) {
	c.entering = true
	c.wait()
	c.account.entering = append(c.account.entering, c)
}

// stopEntering ends that wait.
func (t *conns) stopEntering(c *conn) {
	c.entering = false
	close(c.room)
	c.account.entering = without(c.account.entering, c)
}

// ask has a request wait for replies to be read.
func (t *conns) ask(c *conn, bytes int) {
	c.asks = bytes
	c.wait()
	c.account.asking = append(c.account.asking, c)
	t.askers[c.account] = struct{}{}
}

// stopAsking ends that wait.
func (t *conns) stopAsking(c *conn) {
	c.asks = 0
	close(c.room)
	a := c.account
	if a.asking = without(a.asking, c); len(a.asking) == 0 {
		delete(t.askers, a)
	}
}

// without returns a list without a connection that is in it.
func without(list []*conn, c *conn) []*conn {
	i := slices.Index(list, c)
	return slices.Delete(list, i, i+1)
}
