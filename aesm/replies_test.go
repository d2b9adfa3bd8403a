package aesm

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
)

// unread sends a request and waits until the server has replied, without reading.
func unread(t *testing.T, path string, seen <-chan Exchange, request []byte) (*net.UnixConn, Exchange) {
	t.Helper()
	c := dialUnix(t, path)
	c.Write(request)
	return c, <-seen
}

// What a peer does not read counts against it until it reads or disconnects, in number
// and in bytes. Its next request waits for that, and other peers do not notice.
func TestUnreadRepliesCount(t *testing.T) {
	numbers := &Server{Handler: newStub(), MaxConns: 16}
	bytesOnly := &Server{Handler: newStub(), MaxReplyBytes: 16 * (MaxBufferSize + replyOverhead)}
	for _, tt := range []struct {
		name    string
		server  *Server
		request []byte
		want    int // replies that may be unread
	}{
		{"in number", numbers, numRequest, 16 / peerShare},
		// Once written, a reply counts with what it takes, which is a little less.
		{"in bytes", bytesOnly, quoteRequest(t, MaxBufferSize), 16 / peerShare},
	} {
		for _, free := range []struct {
			name string
			do   func(*net.UnixConn)
		}{
			{"read", func(c *net.UnixConn) { io.ReadAll(c) }},
			{"closed", func(c *net.UnixConn) { c.Close() }},
		} {
			t.Run(tt.name+", then "+free.name, func(t *testing.T) {
				var n named
				n.set("bad")
				server := *tt.server
				path, seen := start(t, n.server(&server))
				var held []*net.UnixConn
				for range tt.want {
					c, e := unread(t, path, seen, tt.request)
					if held = append(held, c); e.Drop != NotDropped {
						t.Fatalf("%d replies are unread, the last exchange is %+v", len(held), e)
					}
				}
				next := dialUnix(t, path)
				next.Write(tt.request)
				n.waitFor(tt.want + 1)
				n.set("good")
				ask(t, path)
				if e := <-seen; e.Peer != name("good") {
					t.Errorf("not the other peer: %+v", e)
				}

				free.do(held[0])
				if e := <-seen; e.Peer != name("bad") || e.Drop != NotDropped {
					t.Errorf("the next request: %+v", e)
				}
				for _, c := range []*net.UnixConn{next, held[1]} {
					if got, err := io.ReadAll(c); err != nil || len(got) == 0 {
						t.Errorf("%d bytes, %v", len(got), err)
					}
				}
			})
		}
	}
}

// Replies to a peer that reads them leave nothing behind.
func TestReadRepliesDoNotCount(t *testing.T) {
	path, _ := start(t, &Server{Handler: newStub(), MaxConns: 16})
	for range 100 {
		ask(t, path)
	}
}

// However many peers hold all that they can, another one gets some.
func TestUnreadRepliesAreShared(t *testing.T) {
	for _, peers := range []int{1, 2, 4, 16, 100} {
		for _, limit := range []usage{{4096, 1 << 30}, {1 << 30, 4096}} {
			table := newConns(usage{1 << 20, 1 << 20}, limit, true)
			hold := func(peer string) (n int) {
				for {
					if !table.lend(&conn{account: table.account(name(peer))}, 1) {
						return n
					}
					n++
				}
			}
			most, total := 0, 0
			for i := range peers {
				n := hold(fmt.Sprint(i))
				most, total = max(most, n), total+n
			}
			if got := hold("another"); got < 4096/littlePart || total+got > 4096 {
				t.Errorf("%d peers hold %d of 4096, at most %d, and another one gets %d", peers, total, most, got)
			}
			if most > 4096/peerShare {
				t.Errorf("a peer holds %d", most)
			}
		}
	}
}

// However many peers leave replies unread, a new connection finds room without waiting
// for one of them.
func TestUnreadRepliesLeaveRoom(t *testing.T) {
	const most = 64
	table := newConns(usage{most, 1 << 20}, usage{most, 1 << 30}, true)
	for i := range 10 * most {
		c, why := table.add(Caller{Peer: name(fmt.Sprint(i))})
		if c == nil {
			t.Fatalf("peer %d: %s", i, why)
		}
		if !table.lend(c, 1) {
			table.remove(c)
		}
		if table.used.conns >= most {
			t.Fatalf("%d peers hold all %d connections", i+1, most)
		}
	}
	if table.used.conns < most/2 {
		t.Errorf("%d connections in use: the peers were refused too early", table.used.conns)
	}
}

// shared is a Peer that stands for several callers.
type shared struct{ name }

func (shared) Restricted() bool { return true }

func TestRestrictedPeer(t *testing.T) {
	table := newConns(usage{4096, 1 << 20}, usage{4096, 1 << 30}, true)
	a, b := table.account(shared{"s"}), table.account(name("n"))
	if got := table.limit(a); got != (usage{64, 1 << 14}) {
		t.Errorf("got %+v", got)
	}
	if got := table.limit(b); got != (usage{1024, 1 << 18}) {
		t.Errorf("got %+v", got)
	}
}

// A server that stops does not wait for replies to be read.
func TestStopLeavesUnreadReplies(t *testing.T) {
	var c *net.UnixConn
	t.Run("serve", func(t *testing.T) {
		path, seen := start(t, &Server{Handler: newStub()})
		c, _ = net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		c.Write(numRequest)
		<-seen
	})
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, numReply) {
		t.Errorf("got %x, %v", got, err)
	}
}

// The largest buffer is served, and beyond it the error names the limit.
func TestLargestBuffer(t *testing.T) {
	path, seen := start(t, &Server{Handler: newStub()})
	for _, tt := range []struct {
		room uint32
		code Code
		size int
	}{
		{MaxBufferSize, CodeSuccess, MaxBufferSize},
		{MaxBufferSize + 1, CodeParameter, 0},
	} {
		c := dialUnix(t, path)
		c.Write(quoteRequest(t, tt.room))
		e := <-seen // before the client reads
		got, err := io.ReadAll(c)
		if err != nil || e.Code != tt.code || len(got) < tt.size {
			t.Errorf("%d: %d bytes, %v, %+v", tt.room, len(got), err, e)
		}
		if tt.code != CodeSuccess && (e.Err == nil || !bytes.Contains([]byte(e.Err.Error()), []byte("65536"))) {
			t.Errorf("%d: %v", tt.room, e.Err)
		}
	}
}

// What all peers together can cause fits into the 256 MiB that the quote helper has in a
// cluster, even if its container was restarted and the replies of the process before are
// still unread. docs/performance.md has the computation.
func TestMemoryOfRestart(t *testing.T) {
	const (
		limit   = 256 << 20
		program = 16 << 20
		perConn = 16 << 10 // a goroutine, a small request, a socket
	)
	requests := 2 * defaultMaxBytes // twice for the garbage collector
	total := program + requests + perConn*defaultMaxConns + 2*most(defaultMaxReplies)
	if total > limit {
		t.Errorf("%d MiB of %d", total>>20, limit>>20)
	}
}
