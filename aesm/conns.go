package aesm

import (
	"container/list"
	"net"
	"sync"
)

// conn is an open connection and where it stands.
type conn struct {
	net.Conn
	waiting *list.Element // its place in conns.waiting, nil once the request is here
	closed  Drop          // why the table closed it
}

// conns are the open connections of a Serve call, at most max.
type conns struct {
	mu      sync.Mutex
	freed   *sync.Cond // signals that the table has changed
	max     int
	open    map[*conn]struct{}
	waiting list.List // of the *conn whose request is not here yet, oldest first
	stopped bool
}

func newConns(max int) *conns {
	t := &conns{max: max, open: make(map[*conn]struct{})}
	t.freed = sync.NewCond(&t.mu)
	return t
}

// add makes room for a new connection: the oldest one that waits for its
// request goes, and where there is none, add waits for an exchange to end. It
// is nil when the table was stopped.
func (t *conns) add(nc net.Conn) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.open) >= t.max && !t.stopped && !t.evict() {
		t.freed.Wait()
	}
	if t.stopped {
		return nil
	}
	c := &conn{Conn: nc}
	c.waiting = t.waiting.PushBack(c)
	t.open[c] = struct{}{}
	return c
}

// shed closes the oldest connection that waits for its request, if any.
func (t *conns) shed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.evict()
}

func (t *conns) evict() bool {
	oldest := t.waiting.Front()
	if oldest == nil {
		return false
	}
	t.close(oldest.Value.(*conn), DropEvicted)
	return true
}

// close takes a connection out of the table and ends its read or write.
func (t *conns) close(c *conn, why Drop) {
	c.closed = why
	t.forget(c)
	c.Close()
}

// arrived says that the request of a connection is here, or cannot be read any
// more. From now on the connection makes room for nobody. It returns why the
// table has closed the connection, if it has.
func (t *conns) arrived(c *conn) Drop {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaveQueue(c)
	return c.closed
}

// remove says that a connection has ended.
func (t *conns) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(c)
}

func (t *conns) forget(c *conn) {
	t.leaveQueue(c)
	delete(t.open, c)
	t.freed.Broadcast()
}

func (t *conns) leaveQueue(c *conn) {
	if c.waiting != nil {
		t.waiting.Remove(c.waiting)
		c.waiting = nil
	}
}

// stop closes the connections that wait for their request, and lets no new ones in.
func (t *conns) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for e := t.waiting.Front(); e != nil; e = t.waiting.Front() {
		t.close(e.Value.(*conn), DropStopped)
	}
	t.freed.Broadcast()
}

// cut closes all connections that are left and returns how many they were.
func (t *conns) cut() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.open)
	for c := range t.open {
		t.close(c, DropStopped)
	}
	return n
}
