package aesm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// holding is a Handler whose quotes take until they are released.
type holding struct {
	*stub
	entered, release chan struct{}
}

// onHeldTime calls do on fake time, with a server of 16 connections whose Handler holds the
// requests for quotes. A peer may have four connections, and four more may wait.
func onHeldTime(t *testing.T, s *Server, do func(t *testing.T, r *room)) {
	t.Helper()
	r := &room{holding: &holding{stub: newStub()}}
	s.Handler, s.MaxConns = r.holding, 16
	r.onQuote = func(context.Context, Caller) { r.entered <- struct{}{}; <-r.release }
	r.set("bad")
	onFakeTime(t, r.server(s), func(t *testing.T, l *pipes, stop context.CancelFunc, seen <-chan Exchange) {
		r.pipes, r.stop, r.seen = l, stop, seen
		r.entered, r.release = make(chan struct{}, 16), make(chan struct{}) // in the bubble
		do(t, r)
	})
}

// room is a server whose Handler holds requests, and its clients.
type room struct {
	*holding
	named
	*pipes
	stop context.CancelFunc
	seen <-chan Exchange
}

// connect connects and sends a request, if there is one.
func (r *room) connect(t *testing.T, request []byte) net.Conn {
	t.Helper()
	c := r.dial()
	t.Cleanup(func() { c.Close() })
	if len(request) > 0 {
		go c.Write(request) // in memory, it waits for the reader
	}
	synctest.Wait()
	return c
}

// hold has n requests for quotes in the Handler.
func (r *room) hold(t *testing.T, n int) (held []net.Conn) {
	t.Helper()
	for range n {
		held = append(held, r.connect(t, quoteRequest(t, 1000)))
		<-r.entered
	}
	return held
}

// pending checks that no exchange has ended.
func (r *room) pending(t *testing.T) {
	t.Helper()
	synctest.Wait()
	if len(r.seen) > 0 {
		t.Fatalf("an exchange has ended: %+v", <-r.seen)
	}
}

// answered checks that a connection gets a reply.
func answered(t *testing.T, c net.Conn) []byte {
	t.Helper()
	got, err := io.ReadAll(c)
	if err != nil || len(got) == 0 {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	return got
}

// A new connection of a peer at its limit waits for another one to end, and other peers do
// not notice.
func TestConnectionWaitsForRoom(t *testing.T) {
	onHeldTime(t, new(Server), func(t *testing.T, r *room) {
		held := r.hold(t, 4)
		next := r.connect(t, numRequest)
		time.Sleep(roomTimeout - time.Millisecond)
		r.pending(t)
		r.set("good")
		if got := answered(t, r.connect(t, numRequest)); !bytes.Equal(got, numReply) {
			t.Errorf("another peer got %x", got)
		}
		<-r.seen

		r.release <- struct{}{}
		go func() {
			for _, c := range held {
				io.ReadAll(c)
			}
		}()
		answered(t, next)
		for range 2 {
			if e := <-r.seen; e.Drop != NotDropped || e.Duration != roomTimeout-time.Millisecond {
				t.Errorf("%+v", e)
			}
		}
		close(r.release)
	})
}

// After roomTimeout, the peer loses a connection without a request, or the new one.
func TestConnectionHasWaited(t *testing.T) {
	for _, tt := range []struct {
		name string
		idle int // of the four connections before the new one
		drop Drop
	}{
		{"for idle ones", 2, DropEvicted},
		{"for requests", 0, DropRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onHeldTime(t, new(Server), func(t *testing.T, r *room) {
				held := r.hold(t, 4-tt.idle)
				for range tt.idle {
					r.connect(t, nil)
				}
				began := time.Now()
				next := r.connect(t, numRequest)
				if e := <-r.seen; e.Drop != tt.drop || time.Since(began) != roomTimeout {
					t.Errorf("after %s: %+v", time.Since(began), e)
				}
				if tt.drop == DropEvicted {
					answered(t, next)
				} else if got, err := io.ReadAll(next); len(got) > 0 || err != nil {
					t.Errorf("the new one got %x, %v", got, err)
				}
				close(r.release)
				for _, c := range held {
					answered(t, c)
				}
			})
		})
	}
}

// If too many connections wait, the next one does not: the peer loses an idle connection,
// or it.
func TestTooManyConnectionsWait(t *testing.T) {
	onHeldTime(t, new(Server), func(t *testing.T, r *room) {
		held := r.hold(t, 3)
		r.connect(t, nil)
		waiting := r.connect(t, quoteRequest(t, 1000))
		var more []net.Conn
		for range 3 {
			more = append(more, r.connect(t, numRequest))
		}
		r.pending(t)
		more = append(more, r.connect(t, numRequest)) // the idle one makes room for the first that waits
		if e := <-r.seen; e.Drop != DropEvicted {
			t.Errorf("%+v", e)
		}
		<-r.entered
		r.connect(t, nil)
		if e := <-r.seen; e.Drop != DropRefused {
			t.Errorf("%+v", e)
		}
		close(r.release)
		for _, c := range slices.Concat(held, []net.Conn{waiting}, more) {
			answered(t, c)
		}
	})
}

// A connection that waits gives way to another peer's if the table is full.
func TestWaitingConnectionGivesWay(t *testing.T) {
	table := newConns(usage{16, 1 << 20}, usage{16, 1 << 30}, true)
	var all []*conn
	add := func(peer string) *conn {
		t.Helper()
		c, why := table.add(Caller{Peer: name(peer), socket: closedConn{}})
		if c == nil {
			t.Fatal(why)
		}
		all = append(all, c)
		return c
	}
	for _, peer := range []string{"a", "b", "c"} {
		for range 4 {
			table.reserveReply(add(peer), 1)
		}
		add(peer)
	}
	last := add("d")
	for range 2 {
		add("e")
	}
	if last.closed != NotDropped || table.used.conns != 16 {
		t.Errorf("%d connections; the first of another peer: %s", table.used.conns, last.closed)
	}
	evicted := 0
	for _, c := range all {
		if c.closed != NotDropped {
			evicted++
		}
		if c.closed != NotDropped && (!c.account.has(4) || c.entering) {
			t.Errorf("a connection of %s was closed", c.account.key)
		}
	}
	if evicted != 2 {
		t.Errorf("%d connections were closed, want 2", evicted)
	}
	for _, c := range all {
		table.remove(c)
	}
	if table.used != (usage{}) || len(table.accounts) > 0 || table.arrivals.oldest != nil {
		t.Errorf("left behind: %+v, %d accounts", table.used, len(table.accounts))
	}
}

func (a *account) has(conns int) bool { return a.used.conns == conns && len(a.entering) == 0 }

// closedConn is a connection of which nothing but Close works.
type closedConn struct{ net.Conn }

func (closedConn) Close() error { return nil }

// A request beyond what its peer may leave unread waits. It is served as soon as there is
// room; if there is none in time, the answer is BUSY.
func TestRequestWaitsForReplies(t *testing.T) {
	for _, want := range []Code{CodeSuccess, CodeBusy} {
		t.Run(want.String(), func(t *testing.T) {
			const bytes = 6 * (1000 + replyOverhead) // each of two peers has room for one reply
			onHeldTime(t, &Server{MaxReplyBytes: bytes}, func(t *testing.T, r *room) {
				held := r.hold(t, 1)
				began := time.Now()
				next := r.connect(t, quoteRequest(t, 1000))
				time.Sleep(roomTimeout - time.Millisecond)
				r.pending(t)
				r.set("good")
				held = append(held, r.hold(t, 1)...)

				after := roomTimeout
				release := func() {
					close(r.release)
					for _, c := range held {
						answered(t, c)
						<-r.seen
					}
				}
				if want == CodeSuccess {
					after = roomTimeout - time.Millisecond
					release()
				} else {
					defer release()
				}
				got := answered(t, next)
				if _, code, err := parseReply(KindGetQuoteEx, got[headerSize:]); err != nil || code != want {
					t.Errorf("got %s, %v", code, err)
				}
				e := <-r.seen
				if e.Drop != NotDropped || e.Code != want || (e.Err != nil) != (want == CodeBusy) || time.Since(began) != after {
					t.Errorf("after %s: %+v", time.Since(began), e)
				}
			})
		})
	}
}

// A peer that does not read the answers that the server is busy gets few of them, and all
// peers together get no more than what they may hold.
func TestRefusalsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 1024
		table := newConns(usage{1 << 20, 1 << 20}, usage{limit, 1 << 30}, true)
		refuse := func(peer string) (n int) {
			for {
				c, _ := table.add(Caller{Peer: name(peer), socket: closedConn{}})
				for table.lend(c, 1) {
					c, _ = table.add(Caller{Peer: name(peer), socket: closedConn{}})
				}
				drop, err := table.owe(c, 1)
				if err == nil {
					t.Fatal("no error")
				}
				if drop != NotDropped {
					return n
				}
				n++
			}
		}
		if n := refuse("a"); n != limit/littlePart {
			t.Errorf("%d refusals of one peer, want %d", n, limit/littlePart)
		}
		for i := range limit {
			refuse(fmt.Sprint(i))
		}
		if n := refuse("z"); n != 0 || table.owed.conns > limit-limit/acceptPart {
			t.Errorf("one more peer gets %d; all hold %d of %d", n, table.owed.conns, limit)
		}
	})
}

// What one peer has read makes room for another one.
func TestRequestWaitsForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newConns(usage{1 << 20, 1 << 20}, usage{4096, 1 << 30}, true)
		var held []*conn
		for i := 0; ; i++ {
			c, _ := table.add(Caller{Peer: name(rune('a' + i%20)), socket: closedConn{}})
			if !table.lend(c, 1) {
				table.remove(c)
				break
			}
			held = append(held, c)
		}
		c, _ := table.add(Caller{Peer: name("a"), socket: closedConn{}})
		owed := make(chan Drop)
		go func() {
			drop, err := table.owe(c, 1)
			if err != nil {
				t.Error(err)
			}
			owed <- drop
		}()
		synctest.Wait()
		for i, o := range held {
			if o.account != c.account {
				table.remove(o)
			}
			if i > len(held)/2 {
				break
			}
		}
		if drop := <-owed; drop != NotDropped {
			t.Error(drop)
		}
		if len(table.askers) > 0 || len(c.account.asking) > 0 {
			t.Error("the peer still waits")
		}
	})
}

// A server that is cut off ends all waits.
func TestCutEndsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newConns(usage{16, 1 << 20}, usage{16, 1}, true)
		add := func() *conn {
			c, _ := table.add(Caller{Peer: name("a"), socket: closedConn{}})
			return c
		}
		for range 3 {
			add()
		}
		asks, enters := add(), add()
		drops := make(chan Drop)
		go func() {
			drop, _ := table.owe(asks, 2)
			drops <- drop
		}()
		go func() { drops <- table.enter(enters) }()
		synctest.Wait()
		began := time.Now()
		table.cut()
		for range 2 {
			if drop := <-drops; drop != DropStopped || time.Since(began) > 0 {
				t.Errorf("%s after %s", drop, time.Since(began))
			}
		}
	})
}
