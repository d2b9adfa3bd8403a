package aesm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/confcom/confcom/aesm/internal/message"
)

// quoteRequest is the frame of a request for a quote of up to 1000 bytes.
func quoteRequest(t testing.TB) []byte {
	t.Helper()
	key, report := IntelQE3KeyID(), testReport()
	reportBytes, _ := report.MarshalBinary()
	b, err := frame(&message.Request{GetQuoteEx: &message.GetQuoteExRequest{
		Report: reportBytes, AttKeyId: key[:], BufSize: proto.Uint32(1000),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// named has a peer of this name at the other end of each connection until the
// next one is named.
type named struct {
	mu   sync.Mutex
	name string
}

type nameKey struct{}

func (n *named) set(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.name = name
}

func (n *named) server(s *Server) *Server {
	s.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		n.mu.Lock()
		defer n.mu.Unlock()
		return context.WithValue(ctx, nameKey{}, n.name)
	}
	s.Peer = func(ctx context.Context) string { return ctx.Value(nameKey{}).(string) }
	return s
}

// A peer that opens connection after connection loses its own, and nobody else's.
func TestPeerMakesRoomForItself(t *testing.T) {
	var n named
	n.set("good")
	path, seen := start(t, n.server(&Server{Handler: newStub(), MaxConns: 16}))
	good := dialUnix(t, path)
	ask(t, path) // so that the first one was accepted
	<-seen
	n.set("bad")
	for range 20 {
		dialUnix(t, path)
	}
	for range 20 - 16/peerShare {
		if e := <-seen; e.Drop != DropEvicted {
			t.Fatalf("%+v", e)
		}
	}
	good.Write(numRequest)
	if got, err := io.ReadAll(good); err != nil || !bytes.Equal(got, numReply) {
		t.Errorf("the good one: %x, %v", got, err)
	}
}

// ask has a whole exchange.
func ask(t *testing.T, path string) {
	t.Helper()
	c := dialUnix(t, path)
	c.Write(numRequest)
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, numReply) {
		t.Fatalf("%x, %v", got, err)
	}
}

// A peer that has all the connections it may wait for replies is refused more,
// at once, and others are served.
func TestPeerIsRefused(t *testing.T) {
	h := newStub()
	entered, release := make(chan struct{}), make(chan struct{})
	h.onQuote = func(context.Context) { entered <- struct{}{}; <-release }
	var n named
	n.set("bad")
	path, seen := start(t, n.server(&Server{Handler: h, MaxConns: 4}))
	busy := dialUnix(t, path)
	busy.Write(quoteRequest(t))
	<-entered
	refused := dialUnix(t, path)
	if got, err := io.ReadAll(refused); len(got) > 0 || err != nil {
		t.Errorf("the refused one: %x, %v", got, err)
	}
	if e := <-seen; e.Drop != DropRefused {
		t.Errorf("%+v", e)
	}
	n.set("good")
	ask(t, path)
	close(release)
	if got, err := io.ReadAll(busy); len(got) == 0 || err != nil {
		t.Errorf("the busy one: %d bytes, %v", len(got), err)
	}
}

// Where memory is short, a whole request is answered with BUSY, and those that
// have sent a part go first.
func TestMemoryIsBounded(t *testing.T) {
	h := newStub()
	entered, release := make(chan struct{}), make(chan struct{})
	h.onQuote = func(context.Context) { entered <- struct{}{}; <-release }
	path, seen := start(t, &Server{Handler: h, MaxBytes: 40 << 10})

	// 33 KiB are announced, and taken by nobody else meanwhile.
	stalled := dialUnix(t, path)
	stalled.Write([]byte{0, 0x84, 0, 0})
	stalled.Write(make([]byte, 100))

	// Two quotes of 20,000 bytes: the first one takes the memory of the stalled
	// request, the second finds none.
	large := func() *net.UnixConn {
		key, report := IntelQE3KeyID(), testReport()
		reportBytes, _ := report.MarshalBinary()
		b, _ := frame(&message.Request{GetQuoteEx: &message.GetQuoteExRequest{
			Report: reportBytes, AttKeyId: key[:], BufSize: proto.Uint32(20_000),
		}})
		c := dialUnix(t, path)
		c.Write(b)
		return c
	}
	waitFor(t, func() bool { return dialAndProbe(t, path) }) // the stalled one was accepted before
	first := large()
	<-entered
	drops := map[Drop]int{}
	for drops[DropEvicted] == 0 {
		e := <-seen
		drops[e.Drop]++
		if e.Drop != DropEvicted && e.Drop != NotDropped {
			t.Fatalf("%+v", e)
		}
	}
	second := large()
	got, err := io.ReadAll(second)
	if err != nil {
		t.Fatal(err)
	}
	if _, code, err := parseReply(KindGetQuoteEx, got[headerSize:]); code != CodeBusy || err != nil {
		t.Errorf("code %s, %v", code, err)
	}
	close(release)
	if got, err := io.ReadAll(first); len(got) < 20_000 || err != nil {
		t.Errorf("the first one: %d bytes, %v", len(got), err)
	}
}

// waitFor waits until something holds, which other goroutines bring about.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about")
		}
		time.Sleep(time.Millisecond)
	}
}

func dialAndProbe(t *testing.T, path string) bool {
	t.Helper()
	ask(t, path)
	return true
}

// A request that comes in the moment of the end is answered, and a connection
// without one is closed.
func TestStopServesWhoHasConnected(t *testing.T) {
	l, err := Listen(socketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	path := l.Addr().String()
	exchanges := make(chan Exchange, 16)
	s := &Server{Handler: newStub(), Observe: func(_ context.Context, e Exchange) { exchanges <- e }}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	late, backlogged, idle := dialUnix(t, path), dialUnix(t, path), dialUnix(t, path)
	stop() // none of them was accepted by now
	go func() { served <- s.Serve(ctx, l) }()
	backlogged.Write(numRequest)
	if got, err := io.ReadAll(backlogged); err != nil || !bytes.Equal(got, numReply) {
		t.Errorf("the one in the backlog: %x, %v", got, err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is still there")
	}
	late.Write(numRequest)
	if got, err := io.ReadAll(late); err != nil || !bytes.Equal(got, numReply) {
		t.Errorf("the late one: %x, %v", got, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(idle); len(got) > 0 || err != nil {
		t.Errorf("the idle one: %x, %v", got, err)
	}
	drops := map[Drop]int{}
	for range 3 {
		drops[(<-exchanges).Drop]++
	}
	if drops[NotDropped] != 2 || drops[DropStopped] != 1 {
		t.Errorf("%v", drops)
	}
}

// The fields that a request lacks count only for the request that is answered.
func TestIncompleteBeside(t *testing.T) {
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

// FuzzFrame sends any bytes, in any pieces. The server answers with one whole
// reply or closes; it reads no more than a request may have.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{}, uint64(0))
	f.Add(numRequest, uint64(1))
	f.Add(numRequest[:2], uint64(2))
	f.Add(append(bytes.Clone(numRequest), numRequest...), uint64(3))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, uint64(4))
	f.Add([]byte{0, 0, 1, 0, 1}, uint64(5))
	f.Add(quoteRequest(f), uint64(6))
	f.Fuzz(func(t *testing.T, stream []byte, pieces uint64) {
		ours, theirs := net.Pipe()
		var exchange Exchange
		s := &serving{
			Server:   &Server{Handler: newStub(), Observe: func(_ context.Context, e Exchange) { exchange = e }},
			ctx:      t.Context(),
			conns:    newConns(usage{1, 1 << 20}, usage{1, 1 << 20}),
			requests: buffers{size: requestBuffer},
			replies:  buffers{size: replyBuffer},
		}
		c, _ := s.conns.add(t.Context(), theirs, "")
		var running sync.WaitGroup
		running.Go(func() { s.serve(c) })
		written := 0
		running.Go(func() {
			r := rand.New(rand.NewPCG(pieces, 0))
			for written < len(stream) {
				n, err := ours.Write(stream[written : written+1+r.IntN(len(stream)-written)])
				written += n
				if err != nil {
					return
				}
			}
			if exchangeNeedsMore(stream) {
				ours.Close()
			}
		})
		reply, _ := io.ReadAll(ours)
		running.Wait()
		ours.Close()

		if _, ok := errors.AsType[*PanicError](exchange.Err); ok {
			t.Fatal(exchange.Err)
		}
		if written > headerSize+MaxRequestFrame {
			t.Errorf("%d bytes were read", written)
		}
		switch {
		case exchange.Drop == NotDropped:
			size, err := readHeader(bytes.NewReader(reply))
			if err != nil || int(size) != len(reply)-headerSize {
				t.Errorf("a reply of %d bytes says that it has %d", len(reply), size)
			}
			if _, _, err := parseReply(exchange.Kind, reply[headerSize:]); err != nil {
				t.Error(err)
			}
		case len(reply) > 0 && exchange.Drop != DropWrite:
			t.Errorf("%+v, and a reply of %d bytes", exchange, len(reply))
		}
		if s.conns.used != (usage{}) || s.conns.oldest != nil {
			t.Errorf("left behind: %+v", s.conns.used)
		}
	})
}

// exchangeNeedsMore tells whether a server waits for more than these bytes.
func exchangeNeedsMore(stream []byte) bool {
	size, err := readHeader(bytes.NewReader(stream))
	return err != nil || size <= MaxRequestFrame && len(stream) < headerSize+int(size)
}
