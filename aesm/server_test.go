package aesm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var (
	numRequest = []byte("\x03\x00\x00\x00\xaa\x01\x00")
	numReply   = []byte("\x07\x00\x00\x00\xaa\x01\x04\x08\x00\x10\x01")
)

// onFakeTime runs a server on connections in memory, in a synctest bubble.
func onFakeTime(t *testing.T, s *Server, do func(t *testing.T, l *pipes, stop context.CancelFunc, seen <-chan Exchange)) {
	synctest.Test(t, func(t *testing.T) {
		exchanges := make(chan Exchange, 4096)
		s.Observe = func(_ context.Context, e Exchange) { exchanges <- e }
		ctx, cancel := context.WithCancel(t.Context())
		l := newPipes()
		var running sync.WaitGroup
		running.Go(func() {
			if err := s.Serve(ctx, l); err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
		do(t, l, cancel, exchanges)
		cancel()
		running.Wait()
	})
}

func TestServerDeadlines(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bytes []byte
		drop  Drop
		after time.Duration // from the first byte, or from accept
	}{
		{"silence", nil, DropIdle, 30 * time.Second},
		{"two bytes and a stall", numRequest[:2], DropSlow, 5 * time.Second},
		{"a header and a stall", numRequest[:4], DropSlow, 5 * time.Second},
		{"half a request and a stall", numRequest[:6], DropSlow, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onFakeTime(t, &Server{Handler: newStub()}, func(t *testing.T, l *pipes, _ context.CancelFunc, seen <-chan Exchange) {
				conn := l.dial()
				defer conn.Close()
				if len(tt.bytes) > 0 {
					conn.Write(tt.bytes)
				}
				if e := <-seen; e.Drop != tt.drop || e.Duration != tt.after || e.Err == nil {
					t.Errorf("got %+v, want %s after %s", e, tt.drop, tt.after)
				}
				if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("read %d bytes, %v", n, err)
				}
			})
		})
	}
}

// A byte now and then does not keep a connection open: ReadTimeout is for the whole
// request.
func TestServerTricklingClient(t *testing.T) {
	onFakeTime(t, &Server{Handler: newStub()}, func(t *testing.T, l *pipes, _ context.CancelFunc, seen <-chan Exchange) {
		conn := l.dial()
		defer conn.Close()
		for _, b := range numRequest {
			if _, err := conn.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if e := <-seen; e.Drop != DropSlow || e.Duration != 5*time.Second {
			t.Errorf("got %+v", e)
		}
	})
}

func TestServerClientThatDoesNotRead(t *testing.T) {
	onFakeTime(t, &Server{Handler: newStub()}, func(t *testing.T, l *pipes, _ context.CancelFunc, seen <-chan Exchange) {
		conn := l.dial()
		defer conn.Close()
		conn.Write(numRequest)
		if e := <-seen; e.Drop != DropWrite || e.Kind != KindGetSupportedAttKeyIDNum || e.Duration != 5*time.Second {
			t.Errorf("got %+v", e)
		}
	})
}

// A stalled client does not delay another one.
func TestServerStallsAlone(t *testing.T) {
	path, _ := start(t, &Server{Handler: newStub()})
	stalled := dialUnix(t, path)
	stalled.Write(numRequest[:2])
	if _, err := (&Client{Socket: path}).SupportedKeyIDs(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestServerFlood(t *testing.T) {
	const max, flood = 10, 100
	path, seen := start(t, &Server{Handler: newStub(), MaxConns: max})
	var conns []*net.UnixConn
	for range flood {
		conns = append(conns, dialUnix(t, path))
	}
	// The oldest connections are closed, and clients are served meanwhile.
	for range flood - max {
		if e := <-seen; e.Drop != DropEvicted {
			t.Fatalf("got %+v", e)
		}
	}
	if _, err := (&Client{Socket: path}).SupportedKeyIDs(t.Context()); err != nil {
		t.Error(err)
	}
	newest := conns[flood-1]
	newest.Write(numRequest)
	if got, err := io.ReadAll(newest); err != nil || !bytes.Equal(got, numReply) {
		t.Errorf("the newest connection got %x, %v", got, err)
	}
}

// If every connection waits for its reply, a new one waits for one of them to end.
func TestServerFull(t *testing.T) {
	h := newStub()
	entered, release := make(chan struct{}), make(chan struct{})
	h.onQuote = func(context.Context, Caller) { entered <- struct{}{}; <-release }
	path, _ := start(t, &Server{Handler: h, MaxConns: 1})
	client := &Client{Socket: path}
	var asking sync.WaitGroup
	asking.Go(func() {
		if _, err := client.GetQuote(t.Context(), IntelQE3KeyID(), testReport(), 1000, nil); err != nil {
			t.Error(err)
		}
	})
	<-entered
	second := dialUnix(t, path)
	second.Write(numRequest)
	close(release)
	if got, err := io.ReadAll(second); err != nil || !bytes.Equal(got, numReply) {
		t.Errorf("the second connection got %x, %v", got, err)
	}
	asking.Wait()
}

func TestServerStopsIdleAndDrainsBusy(t *testing.T) {
	h := newStub()
	entered := make(chan struct{})
	h.onQuote = func(ctx context.Context, caller Caller) {
		close(entered)
		time.Sleep(10 * time.Second)
		if ctx.Err() != nil {
			panic("the handler was cut off")
		}
	}
	onFakeTime(t, &Server{Handler: h}, func(t *testing.T, l *pipes, stop context.CancelFunc, seen <-chan Exchange) {
		idle := l.dial()
		defer idle.Close()
		client := &Client{Dial: func(context.Context) (net.Conn, error) { return l.dial(), nil }}
		var asking sync.WaitGroup
		asking.Go(func() {
			if _, err := client.GetQuote(t.Context(), IntelQE3KeyID(), testReport(), 1000, nil); err != nil {
				t.Error(err)
			}
		})
		<-entered
		stop()
		if e := <-seen; e.Drop != DropStopped {
			t.Errorf("the idle one: %+v", e)
		}
		if e := <-seen; e.Drop != NotDropped || e.Kind != KindGetQuoteEx || e.Duration != 10*time.Second {
			t.Errorf("the busy one: %+v", e)
		}
		asking.Wait()
	})
}

func TestServerCutsOffAfterDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newStub()
		entered := make(chan struct{})
		h.onQuote = func(ctx context.Context, caller Caller) { close(entered); <-ctx.Done() }
		ctx, stop := context.WithCancel(t.Context())
		l := newPipes()
		result := make(chan error)
		s := &Server{Handler: h, DrainTimeout: 3 * time.Second}
		go func() { result <- s.Serve(ctx, l) }()
		client := &Client{Dial: func(context.Context) (net.Conn, error) { return l.dial(), nil }}
		var asking sync.WaitGroup
		asking.Go(func() {
			_, err := client.GetQuote(t.Context(), IntelQE3KeyID(), testReport(), 1000, nil)
			// The handler may answer before the connection is closed.
			if err != nil && !errors.Is(err, ErrNoReply) {
				t.Errorf("client: %v", err)
			}
		})
		<-entered
		stopped := time.Now()
		stop()
		if err := <-result; err == nil {
			t.Error("Serve has cut off an exchange and returned no error")
		}
		if d := time.Since(stopped); d != 3*time.Second {
			t.Errorf("Serve ended after %s", d)
		}
		asking.Wait()
	})
}

func TestServerAcceptErrors(t *testing.T) {
	onFakeTime(t, &Server{Handler: newStub()}, func(t *testing.T, l *pipes, _ context.CancelFunc, seen <-chan Exchange) {
		began := time.Now()
		idle := l.dial()
		defer idle.Close()
		synctest.Wait()
		for range 3 {
			l.errs <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		drops := map[Drop]int{}
		for range 4 {
			e := <-seen
			drops[e.Drop]++
		}
		// The idle connection is closed to free its file descriptor.
		if drops[DropAccept] != 3 || drops[DropEvicted] != 1 {
			t.Errorf("got %v", drops)
		}
		conn := l.dial()
		defer conn.Close()
		if d := time.Since(began); d != 35*time.Millisecond {
			t.Errorf("accepted again after %s, want 5+10+20 ms", d)
		}
		conn.Write(numRequest)
		if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, numReply) {
			t.Errorf("got %x, %v", got, err)
		}
	})
}

func TestServerListenerFails(t *testing.T) {
	l := newPipes()
	l.errs <- syscall.EBADF
	if err := (&Server{Handler: newStub()}).Serve(t.Context(), l); !errors.Is(err, syscall.EBADF) {
		t.Errorf("got %v", err)
	}
	if err := new(Server).Serve(t.Context(), newPipes()); err == nil {
		t.Error("a Server without a Handler has served")
	}
}

// countingConn counts the writes to a connection.
type countingConn struct {
	net.Conn
	writes *atomic.Int32
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestOneWrite(t *testing.T) {
	var served, asked atomic.Int32
	h := newStub()
	h.quote = fakeQuote(5000)
	onFakeTime(t, &Server{Handler: h}, func(t *testing.T, l *pipes, _ context.CancelFunc, seen <-chan Exchange) {
		client := &Client{Dial: func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			l.conns <- countingConn{theirs, &served}
			return countingConn{ours, &asked}, nil
		}}
		if _, err := client.Quote(t.Context(), makeTestReport); err != nil {
			t.Fatal(err)
		}
		const exchanges = 5 // select, init twice, size, quote
		if served.Load() != exchanges || asked.Load() != exchanges {
			t.Errorf("%d writes by the server and %d by the client for %d exchanges", served.Load(), asked.Load(), exchanges)
		}
	})
}

func TestServerPanic(t *testing.T) {
	h := newStub()
	h.onQuote = func(context.Context, Caller) { panic("stub") }
	path, seen := start(t, &Server{Handler: h})
	_, err := (&Client{Socket: path}).GetQuote(t.Context(), IntelQE3KeyID(), testReport(), 1000, nil)
	if !errors.Is(err, CodeUnexpected) {
		t.Errorf("client: %v", err)
	}
	e := <-seen
	if p, ok := errors.AsType[*PanicError](e.Err); !ok || p.Value != "stub" || len(p.Stack) == 0 {
		t.Errorf("exchange: %+v", e)
	}
}

// Handler and Observe see the peer that Identify returned and the values of
// Serve's context.
func TestServerIdentify(t *testing.T) {
	type key struct{}
	h := newStub()
	check := func(who string, ctx context.Context, peer Peer) {
		if peer != name("pod") || ctx.Value(key{}) != "value" {
			t.Errorf("%s sees the peer %v and the value %v", who, peer, ctx.Value(key{}))
		}
	}
	h.onQuote = func(ctx context.Context, caller Caller) { check("Handler", ctx, caller.Peer) }
	l := newPipes()
	ctx, stop := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	observed := make(chan struct{})
	s := &Server{
		Handler:  h,
		Identify: func(net.Conn) Peer { return name("pod") },
		Observe: func(ctx context.Context, e Exchange) {
			check("Observe", ctx, e.Peer)
			close(observed)
		},
	}
	result := make(chan error)
	go func() { result <- s.Serve(ctx, l) }()
	client := &Client{Dial: func(context.Context) (net.Conn, error) { return l.dial(), nil }}
	if _, err := client.GetQuote(t.Context(), IntelQE3KeyID(), testReport(), 1000, nil); err != nil {
		t.Error(err)
	}
	<-observed
	stop()
	if err := <-result; err != nil {
		t.Error(err)
	}
}
