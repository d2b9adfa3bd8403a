package aesm

import "time"

// A reply that its client does not read stays in the kernel, in memory that is charged
// to the server, until the client has read it or has closed its end. The server cannot
// free it: closing its own end only hides it. So a connection is not closed before
// that. Until then it counts against its peer, in number and in bytes.

const (
	// sweepInterval is the time between two searches for replies that were read.
	sweepInterval = 50 * time.Millisecond
	// sweepBefore is how many are looked at before a peer is refused another one.
	sweepBefore = 16

	// reservedPart is the divisor for the part of the limits that is only for peers that hold
	// little of them: 1/littlePart at most.
	reservedPart = 4
	littlePart   = 512
	// acceptPart is the divisor for the part of the limits that nobody gets. Connections
	// that fill it wait for their request, so they can be closed to make room.
	acceptPart = 8

	// replyOverhead bounds the kernel's memory for a reply beyond the quote: the fields
	// around it, the kernel's own structures, and the rest of the last page.
	replyOverhead = 6 << 10
)

// replyMemory bounds the kernel's memory for the reply to a request.
func replyMemory(req *request) int {
	if req.kind != KindGetQuoteEx || req.incomplete != nil {
		return replyOverhead
	}
	return int(min(req.GetQuoteEx.GetBufSize(), MaxBufferSize)) + replyOverhead
}

// mayOwe reports whether a peer may request one more reply.
func (t *conns) mayOwe(a *account, bytes int) bool {
	return t.fits(a, a.owed.conns+1, t.owed.conns+1, t.maxOwed.conns) &&
		t.fits(a, a.owed.bytes+bytes, t.owed.bytes+bytes, t.maxOwed.bytes)
}

// mayRefuse reports whether a peer may get one more reply that the server is busy.
func (t *conns) mayRefuse(a *account) bool {
	return a.refusals < little(t.maxOwed.conns) && t.owed.conns < most(t.maxOwed.conns) &&
		t.owed.bytes+replyOverhead <= most(t.maxOwed.bytes)
}

// most returns what all peers together may hold of a limit.
func most(limit int) int { return limit - limit/acceptPart }

// little returns what each peer may hold of a limit, whatever others hold.
func little(limit int) int { return max(limit/littlePart, 1) }

// fits reports whether a peer, and all together, may hold so much of a limit.
//
// What a peer holds cannot be taken back. So nobody gets the last eighth, which is for
// new connections, and the quarter before it is only for peers that hold little. Of the
// rest, a peer gets as much as its share would be of what the
// others have left.
func (t *conns) fits(a *account, peer, all, limit int) bool {
	shared := most(limit) - limit/reservedPart
	switch {
	case !t.identity:
		return all <= shared // new connections still find room
	case peer <= little(limit):
		return all <= most(limit)
	}
	return all <= shared && peer <= (limit-all+peer)/a.share
}

// count changes what is owed to the peer of a connection.
func (t *conns) count(c *conn, conns, bytes int) {
	for _, owed := range []*usage{&c.account.owed, &t.owed} {
		owed.conns += conns
		owed.bytes += bytes
	}
}

// settle ends what is owed to a connection.
func (t *conns) settle(c *conn) {
	if c.owing {
		t.count(c, -1, -c.owed)
		c.owed, c.owing = 0, false
	}
	if c.refused {
		c.account.refusals--
		c.refused = false
	}
}

// keep keeps a connection that is over until its client has read the reply or has
// closed its end. It reports whether that is possible; if not, the connection is to be
// closed. Until the reply is looked at, it counts with the memory reserved for it.
func (t *conns) keep(c *conn) bool {
	if endWrites(c.caller.socket) != nil { // the client has gone, or it is no unix socket
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !c.open || t.over {
		return false
	}
	t.used.bytes -= c.bytes
	c.account.used.bytes -= c.bytes
	c.bytes = 0
	t.arrivals.remove(c)
	c.unread, c.waiting = true, false
	c.account.unread.push(c)
	t.unread++
	switch {
	case t.sweeper == nil:
		t.sweeper = time.AfterFunc(sweepInterval, t.sweepAll)
	case t.unread == 1:
		t.sweeper.Reset(sweepInterval)
	}
	return true
}

// look reports whether the reply of a kept connection was read. If it was, the
// connection leaves the table, and is to be closed. If not, it counts with what the
// reply takes.
func (t *conns) look(c *conn) (read bool) {
	bytes, _ := unsent(c.caller.socket)
	if bytes == 0 || t.over {
		t.unlink(c)
		return true
	}
	if c.owing {
		t.count(c, 0, bytes-c.owed)
		c.owed = bytes
		t.lendAll()
	}
	return false
}

// release closes a connection that was kept, if its reply was read meanwhile.
func (t *conns) release(c *conn) {
	if bytes, _ := unsent(c.caller.socket); bytes == 0 {
		c.caller.socket.Close() // again, if the table has closed it
		t.remove(c)
	}
}

// sweep looks at the oldest unread replies of a peer, and closes the connections of those
// that were read. The others become the newest, so that each has its turn.
func (t *conns) sweep(a *account) {
	c := a.unread.oldest
	for range sweepBefore {
		if c == nil {
			return
		}
		next := c.newer
		if t.look(c) {
			c.caller.socket.Close()
		} else if next != nil {
			a.unread.remove(c)
			a.unread.push(c)
		}
		c = next
	}
}

// sweepAll looks at all unread replies, and again after sweepInterval if any is left.
func (t *conns) sweepAll() {
	for _, c := range t.readReplies() {
		c.caller.socket.Close()
	}
}

// readReplies returns the connections whose reply was read. They have left the table.
func (t *conns) readReplies() (read []*conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range t.accounts {
		for c := a.unread.oldest; c != nil; c = c.newer {
			if t.look(c) {
				read = append(read, c)
			}
		}
	}
	if t.unread > 0 {
		t.sweeper.Reset(sweepInterval)
	}
	return read
}

// end closes the connections whose reply is unread. The memory of their replies is no
// longer counted.
func (t *conns) end() {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.sweepAll()
}
