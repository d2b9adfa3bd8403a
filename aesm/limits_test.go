package aesm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confcom/confcom/aesm/internal/message"

	"google.golang.org/protobuf/proto"
)

// quoteRequest returns the frame of a request for a quote of up to room bytes.
func quoteRequest(t testing.TB, room uint32) []byte {
	t.Helper()
	key, report := IntelQE3KeyID(), testReport()
	reportBytes, _ := report.MarshalBinary()
	b, err := frame(&message.Request{GetQuoteEx: &message.GetQuoteExRequest{
		Report: reportBytes, AttKeyId: key[:], BufSize: &room,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// name is a Peer.
type name string

func (n name) Key() string { return string(n) }

// named identifies the peer of each new connection by the name set last.
type named struct {
	mu         sync.Mutex
	name       name
	identified int // connections
}

// waitFor waits until so many connections were identified.
func (n *named) waitFor(connections int) {
	for {
		n.mu.Lock()
		done := n.identified >= connections
		n.mu.Unlock()
		if done {
			return
		}
		runtime.Gosched()
	}
}

func (n *named) set(name name) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.name = name
}

func (n *named) server(s *Server) *Server {
	s.Identify = func(net.Conn) Peer {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.identified++
		return n.name
	}
	return s
}

// A peer that opens connection after connection loses only its own.
func TestPeerMakesRoomForItself(t *testing.T) {
	var n named
	n.set("good")
	path, seen := start(t, n.server(&Server{Handler: newStub(), MaxConns: 16}))
	good := dialUnix(t, path)
	ask(t, path) // so that the first one has been accepted
	<-seen
	n.set("bad")
	for range 20 {
		dialUnix(t, path)
	}
	for range 20 - 2*16/peerShare { // as many again wait
		if e := <-seen; e.Drop != DropEvicted {
			t.Fatalf("%+v", e)
		}
	}
	good.Write(numRequest)
	if got, err := io.ReadAll(good); err != nil || !bytes.Equal(got, numReply) {
		t.Errorf("the good peer got %x, %v", got, err)
	}
}

// ask sends a request and checks the reply.
func ask(t *testing.T, path string) {
	t.Helper()
	c := dialUnix(t, path)
	c.Write(numRequest)
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, numReply) {
		t.Fatalf("%x, %v", got, err)
	}
}

// When memory is short, connections that have sent a part of their request are closed
// first, and then new requests are refused. If peers are identified, each has its own
// limit.
func TestMemoryIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name     string
		maxBytes int
		peers    bool
	}{
		{"of all", 40 << 10, false},
		{"of a peer", peerShare * 40 << 10, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newStub()
			var entered, release chan struct{}
			h.onQuote = func(context.Context, Caller) { entered <- struct{}{}; <-release }
			s := &Server{Handler: h, MaxBytes: tt.maxBytes}
			var n named
			if tt.peers {
				n.server(s)
			}
			onFakeTime(t, s, func(t *testing.T, l *pipes, _ context.CancelFunc, seen <-chan Exchange) {
				entered, release = make(chan struct{}, 1), make(chan struct{})
				send := func(peer string, b []byte) net.Conn {
					n.set(name(peer))
					c := l.dial()
					c.Write(b)
					synctest.Wait()
					return c
				}
				large := largeRequest(t)

				// This one reserves 33 KiB.
				stalled := send("bad", []byte{0, 0x84, 0, 0, 1})
				defer stalled.Close()
				var good net.Conn
				if tt.peers {
					good = send("good", large)
					<-entered
					if len(seen) > 0 {
						t.Errorf("the request of another peer had an effect: %+v", <-seen)
					}
				}

				// Two requests of 21,000 bytes: the first gets the memory of the stalled
				// connection, the second gets none.
				first := send("bad", large)
				<-entered
				if e := <-seen; e.Drop != DropEvicted {
					t.Errorf("%+v", e)
				}
				second := send("bad", large)
				if got, err := io.ReadAll(second); len(got) > 0 || err != nil {
					t.Errorf("the second request got %d bytes, %v", len(got), err)
				}
				if e := <-seen; e.Drop != DropRefused {
					t.Errorf("%+v", e)
				}
				close(release)
				for _, c := range []net.Conn{good, first} {
					if c == nil {
						continue
					}
					if got, err := io.ReadAll(c); len(got) < 1000 || err != nil {
						t.Errorf("%d bytes, %v", len(got), err)
					}
				}
			})
		})
	}
}

// largeRequest returns a request for a quote, with a key ID of 21,000 bytes.
func largeRequest(t *testing.T) []byte {
	t.Helper()
	key, report := IntelQE3KeyID(), testReport()
	reportBytes, _ := report.MarshalBinary()
	b, err := frame(&message.Request{GetQuoteEx: &message.GetQuoteExRequest{
		Report: reportBytes, AttKeyId: append(key[:], make([]byte, 21_000-KeyIDSize)...), BufSize: proto.Uint32(1000),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The largest request is served.
func TestLargestRequest(t *testing.T) {
	body := append(bytes.Clone(numRequest[headerSize:]), 0xfa, 0x06) // an unknown field, 111
	padding := MaxRequestFrame - len(body) - 3
	body = append(binary.AppendUvarint(body, uint64(padding)), make([]byte, padding)...)
	if len(body) != MaxRequestFrame {
		t.Fatalf("%d bytes", len(body))
	}
	path, _ := start(t, &Server{Handler: newStub()})
	c := dialUnix(t, path)
	c.Write(framed(body))
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, numReply) {
		t.Errorf("%x, %v", got, err)
	}
}

// A request that is larger than MaxBytes is refused.
func TestRequestBeyondMemory(t *testing.T) {
	onFakeTime(t, &Server{Handler: newStub(), MaxBytes: 16 << 10}, func(t *testing.T, l *pipes, _ context.CancelFunc, seen <-chan Exchange) {
		c := l.dial()
		defer c.Close()
		c.Write([]byte{0, 0x84, 0, 0})
		if e := <-seen; e.Drop != DropRefused || e.Err == nil {
			t.Errorf("%+v", e)
		}
	})
}

// The largest reply fits into the buffer of the socket.
func TestLargeReply(t *testing.T) {
	h := newStub()
	h.quote = fakeQuote(MaxQuoteSize)
	path, seen := start(t, &Server{Handler: h})
	c := dialUnix(t, path)
	c.Write(quoteRequest(t, MaxQuoteSize))
	if e := <-seen; e.Drop != NotDropped { // before the client has read it
		t.Errorf("%+v", e)
	}
	got, err := io.ReadAll(c)
	if err != nil || len(got) < MaxQuoteSize {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	res, code, err := parseReply(KindGetQuoteEx, got[headerSize:])
	if err != nil || code != CodeSuccess || !bytes.Equal(res.GetGetQuoteEx().GetQuote(), h.quote) {
		t.Errorf("got code %s, %v, or another quote", code, err)
	}
}

// A stopping server answers requests on connections that were made before.
func TestStopServesTheBacklog(t *testing.T) {
	l, err := Listen(socketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	path := l.Addr().String()
	exchanges := make(chan Exchange, 16)
	s := &Server{Handler: newStub(), Observe: func(_ context.Context, e Exchange) { exchanges <- e }}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	late, backlogged := dialUnix(t, path), dialUnix(t, path)
	stop() // before any of them is accepted
	go func() { served <- s.Serve(ctx, l) }()
	backlogged.Write(numRequest)
	if got, err := io.ReadAll(backlogged); err != nil || !bytes.Equal(got, numReply) {
		t.Errorf("the backlogged connection got %x, %v", got, err)
	}
	for withdrawn := false; !withdrawn; { // while the late connection keeps the server running
		_, err := os.Lstat(path)
		withdrawn = errors.Is(err, fs.ErrNotExist)
	}
	late.Write(numRequest)
	if got, err := io.ReadAll(late); err != nil || !bytes.Equal(got, numReply) {
		t.Errorf("the late connection got %x, %v", got, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	for range 2 {
		if e := <-exchanges; e.Drop != NotDropped {
			t.Errorf("%+v", e)
		}
	}
}

// A stopping server waits for requests for requestGrace.
func TestStopWaitsForRequests(t *testing.T) {
	onFakeTime(t, &Server{Handler: newStub()}, func(t *testing.T, l *pipes, stop context.CancelFunc, seen <-chan Exchange) {
		idle, half, late := l.dial(), l.dial(), l.dial()
		for _, c := range []net.Conn{idle, half, late} {
			defer c.Close()
		}
		half.Write(numRequest[:5])
		stopped := time.Now()
		stop()
		time.Sleep(requestGrace - time.Millisecond)
		late.Write(numRequest)
		if got, err := io.ReadAll(late); err != nil || !bytes.Equal(got, numReply) {
			t.Errorf("the late connection got %x, %v", got, err)
		}
		if e := <-seen; e.Drop != NotDropped {
			t.Errorf("the late connection: %+v", e)
		}
		for range 2 {
			if e := <-seen; e.Drop != DropStopped {
				t.Errorf("%+v", e)
			}
		}
		if d := time.Since(stopped); d != requestGrace {
			t.Errorf("the server has waited for %s", d)
		}
	})
}

// Of several requests in one message, only the one that is answered must be complete.
func TestIncompleteOther(t *testing.T) {
	body := append([]byte{0x9a, 1, 0}, 0xb2, 1, 0) // SelectAttKeyID, and GetSupportedAttKeyIDs without its size
	req, err := parseRequest(body)
	if err != nil || req.kind != KindSelectAttKeyID || req.incomplete != nil {
		t.Errorf("%+v, %v", req, err)
	}
	req, err = parseRequest(body[3:])
	if err != nil || req.kind != KindGetSupportedAttKeyIDs || req.incomplete == nil {
		t.Errorf("%+v, %v", req, err)
	}
}
