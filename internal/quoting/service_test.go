package quoting

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/sgx"
)

func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const concurrency = 2
		g := newGate()
		s := NewService(&stub{quote: g.pass}, concurrency, nil)
		results := make(chan error)
		for range concurrency + 1 {
			go func() { results <- quoteAs(t.Context(), s, "a") }()
		}
		<-g.entered
		<-g.entered
		synctest.Wait() // the third waits
		select {
		case <-g.entered:
			t.Fatalf("more than %d requests in service", concurrency)
		default:
		}
		g.leave <- struct{}{}
		if err := <-results; err != nil {
			t.Error(err)
		}
		<-g.entered // now it is the third one's turn
		for range concurrency {
			g.leave <- struct{}{}
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		expectIdle(t, s.queue)
	})
}

// A client gets BUSY before its timeout expires, and the failure names the layer that
// took the time.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := NewService(&stub{quote: g.pass}, 1, nil)
		began := time.Now()
		served, waiting := make(chan error), make(chan error)
		go func() { served <- quoteAs(t.Context(), s, "a") }()
		<-g.entered
		time.Sleep(time.Second)
		go func() { waiting <- quoteAs(t.Context(), s, "b") }()

		expectFailure(t, <-served, Failure{LayerBackend, aesm.CodeBusy, context.DeadlineExceeded, adviceSlow})
		if d := time.Since(began); d != Deadline {
			t.Errorf("the request in service was answered after %s", d)
		}
		<-g.entered // the other one has a second left
		expectFailure(t, <-waiting, Failure{LayerBackend, aesm.CodeBusy, context.DeadlineExceeded, adviceSlow})
		if d := time.Since(began); d != Deadline+time.Second {
			t.Errorf("the request that had waited was answered after %s", d)
		}
		expectIdle(t, s.queue)
	})
}

func TestDeadlineInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging := make(chan struct{})
		s := NewService(&stub{quote: func(context.Context) (aesm.Quoted, error) {
			<-hanging // ignores ctx
			return aesm.Quoted{}, nil
		}}, 1, nil)
		var running sync.WaitGroup
		running.Go(func() {
			if err := quoteAs(t.Context(), s, "a"); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		began := time.Now()
		expectFailure(t, quoteAs(t.Context(), s, "b"), Failure{LayerQueue, aesm.CodeBusy, context.DeadlineExceeded, adviceBusy})
		if d := time.Since(began); d != Deadline {
			t.Errorf("answered after %s", d)
		}
		close(hanging)
		running.Wait()
		expectIdle(t, s.queue)
	})
}

// expectFailure checks that an error is a *Failure that equals want and wraps its Err.
func expectFailure(t *testing.T, err error, want Failure) {
	t.Helper()
	f, ok := errors.AsType[*Failure](err)
	if !ok {
		t.Errorf("%v (%[1]T), want a Failure", err)
		return
	}
	if f.Layer != want.Layer || f.Code != want.Code || f.Advice != want.Advice || !errors.Is(f, want.Err) || !errors.Is(f, want.Code) {
		t.Errorf("%#v (%[1]v), want %#v", f, want)
	}
}

// InitQuote and Quote wait for their turn; the other requests do not.
func TestWhatWaits(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ask   func(ctx context.Context, s *Service) error
		waits bool
	}{
		{"InitQuote", func(ctx context.Context, s *Service) error {
			ready, err := s.InitQuote(ctx, aesm.Caller{}, s.keys[0])
			if err == nil && ready.PublicKeyID[0] != 7 {
				err = fmt.Errorf("not the backend's: %v", ready)
			}
			return err
		}, true},
		{"Quote", func(ctx context.Context, s *Service) error { return quoteAs(ctx, s, "") }, true},
		{"QuoteSize", func(ctx context.Context, s *Service) error {
			n, err := s.QuoteSize(ctx, s.keys[0])
			if err == nil && n != stubSize {
				err = fmt.Errorf("not the backend's: %d", n)
			}
			return err
		}, false},
		{"KeyIDs", func(ctx context.Context, s *Service) error {
			keys, err := s.KeyIDs(ctx)
			if err == nil && (len(keys) != 1 || keys[0] != aesm.IntelQE3KeyID()) {
				err = fmt.Errorf("not Intel's: %v", keys)
			}
			return err
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := NewService(new(stub), 1, nil)
				if err := tt.ask(t.Context(), s); err != nil {
					t.Errorf("idle backend: %v", err)
				}
				if waited, err := s.queue.enter(t.Context(), "other", workQuote); waited || err != nil {
					t.Fatalf("waited: %v, %v", waited, err)
				}
				result := make(chan error, 1)
				go func() { result <- tt.ask(t.Context(), s) }()
				synctest.Wait()
				if waits := len(result) == 0; waits != tt.waits {
					t.Errorf("waits: %v, want %v", waits, tt.waits)
				}
				s.queue.leave("other")
				if err := <-result; err != nil {
					t.Error(err)
				}
				expectIdle(t, s.queue)
			})
		})
	}
}

func TestQuoteSizeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewService(&stub{size: func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }}, 1, nil)
		_, err := s.QuoteSize(t.Context(), s.keys[0])
		expectFailure(t, err, Failure{LayerBackend, aesm.CodeBusy, context.DeadlineExceeded, adviceSlow})
	})
}

// After the deadline, any error of the backend becomes BUSY.
func TestAnotherErrorAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the connection was closed")
		s := NewService(&stub{quote: func(ctx context.Context) (aesm.Quoted, error) { <-ctx.Done(); return aesm.Quoted{}, cause }}, 1, nil)
		expectFailure(t, quoteAs(t.Context(), s, ""), Failure{LayerBackend, aesm.CodeBusy, cause, adviceSlow})
	})
}

// A panic of the backend ends the request's turn.
func TestPanicEndsTurn(t *testing.T) {
	p := &stub{
		init:  func(context.Context) (aesm.Initialized, error) { panic("init") },
		quote: func(context.Context) (aesm.Quoted, error) { panic("quote") },
	}
	s := NewService(p, 1, nil)
	for _, ask := range []func(){
		func() { s.InitQuote(t.Context(), aesm.Caller{}, s.keys[0]) },
		func() { quoteAs(t.Context(), s, "") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			ask()
		}()
		expectIdle(t, s.queue)
	}
}

func TestBackendErrors(t *testing.T) {
	cause := errors.New("the cause")
	failure := &Failure{LayerWorker, aesm.CodeEnclaveLoad, cause, "try turning it off and on"}
	for _, tt := range []struct {
		name string
		err  error
		want Failure
	}{
		{"failure", failure, *failure},
		{"wrapped failure", fmt.Errorf("somewhere: %w", failure), *failure},
		{"code", aesm.CodeNetwork, Failure{LayerNetwork, aesm.CodeNetwork, aesm.CodeNetwork, ""}},
		{"wrapped code", fmt.Errorf("%w: %w", aesm.CodeInvalidReport, cause), Failure{LayerClient, aesm.CodeInvalidReport, cause, ""}},
		{"any other error", cause, Failure{LayerBackend, aesm.CodeUnexpected, cause, ""}},
		{"a timeout of the backend's own", context.DeadlineExceeded, Failure{LayerBackend, aesm.CodeUnexpected, context.DeadlineExceeded, ""}},
		{"cancelled", fmt.Errorf("somewhere: %w", context.Canceled), Failure{LayerBackend, aesm.CodeServiceStopped, context.Canceled, ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewService(&stub{
				init:  func(context.Context) (aesm.Initialized, error) { return aesm.Initialized{}, tt.err },
				size:  func(context.Context) (int, error) { return 0, tt.err },
				quote: func(context.Context) (aesm.Quoted, error) { return aesm.Quoted{}, tt.err },
			}, 1, nil)
			_, err := s.InitQuote(t.Context(), aesm.Caller{}, s.keys[0])
			expectFailure(t, err, tt.want)
			_, err = s.QuoteSize(t.Context(), s.keys[0])
			expectFailure(t, err, tt.want)
			expectFailure(t, quoteAs(t.Context(), s, ""), tt.want)
			expectIdle(t, s.queue)
		})
	}
}

// A request whose client has closed its connection while waiting is not served; one
// whose client has only closed its sending half is.
func TestClientGone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		do     func(c *net.UnixConn) error
		quotes int
	}{
		{"gone", (*net.UnixConn).Close, 1},
		{"half closed", (*net.UnixConn).CloseWrite, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGate()
			quotes := 0
			s := NewService(&stub{quote: func(ctx context.Context) (aesm.Quoted, error) {
				quotes++ // the backend serves one request at a time
				return g.pass(ctx)
			}}, 1, nil)
			socket, exchanges := listen(t, &aesm.Server{Handler: s})
			first := ask(t, socket)
			<-g.entered
			second := ask(t, socket)
			waitForOne(s.queue)
			if err := tt.do(second); err != nil {
				t.Fatal(err)
			}
			g.leave <- struct{}{}
			if reply, err := io.ReadAll(first); len(reply) < stubSize || err != nil {
				t.Errorf("first client: %d bytes, %v", len(reply), err)
			}
			if tt.quotes == 2 {
				<-g.entered
				g.leave <- struct{}{}
				if reply, err := io.ReadAll(second); len(reply) < stubSize || err != nil {
					t.Errorf("second client: %d bytes, %v", len(reply), err)
				}
			}
			answered := 0
			for range 2 {
				if e := <-exchanges; e.Err == nil && e.Drop == aesm.NotDropped {
					answered++
				} else if f, ok := errors.AsType[*Failure](e.Err); !ok || f.Layer != LayerClient || !errors.Is(f, errClientGone) {
					t.Errorf("%+v", e)
				}
			}
			if answered != tt.quotes {
				t.Errorf("%d requests answered, want %d", answered, tt.quotes)
			}
			if quotes != tt.quotes {
				t.Errorf("%d quotes made, want %d", quotes, tt.quotes)
			}
			expectIdle(t, s.queue)
		})
	}
}

// listen serves on a socket until the test ends, and returns its path and the outcome
// of each connection.
func listen(t *testing.T, server *aesm.Server) (socket string, exchanges <-chan aesm.Exchange) {
	t.Helper()
	dir, err := os.MkdirTemp("", "quoting") // t.TempDir may be too long for a socket path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	listener, err := aesm.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan aesm.Exchange, 64)
	observe := server.Observe
	server.Observe = func(ctx context.Context, e aesm.Exchange) {
		if observe != nil {
			observe(ctx, e)
		}
		seen <- e
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return socket, seen
}

// ask sends a request for a quote as a client does, and returns the connection.
func ask(t *testing.T, socket string) *net.UnixConn {
	t.Helper()
	conn := dial(t, socket)
	// The client sends its request, but cannot read the answer.
	client := aesm.Client{Dial: func(context.Context) (net.Conn, error) { return writer{conn}, nil }}
	if _, err := client.GetQuote(t.Context(), aesm.IntelQE3KeyID(), sgx.Report{}, stubSize, nil); !errors.Is(err, aesm.ErrNoReply) {
		t.Fatal(err)
	}
	return conn
}

// writer is a connection that cannot be read or closed.
type writer struct{ *net.UnixConn }

func (writer) Read([]byte) (int, error)      { return 0, io.EOF }
func (writer) Close() error                  { return nil }
func (writer) SetDeadline(t time.Time) error { return nil }

func dial(t *testing.T, socket string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// The histograms also count requests that did not have to wait.
func TestServiceTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		s := NewService(&stub{quote: func(context.Context) (aesm.Quoted, error) {
			time.Sleep(2 * time.Second)
			return aesm.Quoted{}, nil
		}}, 1, NewMetrics(registry))
		var running sync.WaitGroup
		for range 2 {
			running.Go(func() { quoteAs(t.Context(), s, "a") })
		}
		running.Wait()
		for name, want := range map[string]histogram{
			"sgx_quote_helper_queue_wait_seconds": {2, 2}, // one served at once, one after 2 s
			"sgx_quote_helper_service_seconds":    {2, 4},
		} {
			if got := histogramOf(t, registry, name); got != want {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
	})
}
