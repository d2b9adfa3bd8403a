package quotehelper

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func TestMain(m *testing.M) {
	// Most of these tests wait for a helper that polls its socket. They wait in
	// parallel, even on small machines.
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// patience is longer than anything here takes.
const patience = 10 * time.Second

// running is a running helper.
type running struct {
	lines   chan string // its log
	metrics *prometheus.Registry
	stop    context.CancelFunc
	ended   chan struct{}
	err     error // what Run returned, once it has ended
}

// start runs a helper until the test ends.
func start(t *testing.T, h *Helper) *running {
	t.Helper()
	if h.Concurrency == 0 {
		h.Concurrency = 2
	}
	r := &running{lines: make(chan string, 1024), metrics: prometheus.NewRegistry(), ended: make(chan struct{})}
	env := &daemon.Environment{
		Log:     slog.New(slog.NewTextHandler(r, nil)),
		Health:  new(daemon.Health),
		Metrics: r.metrics,
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		defer close(r.ended)
		r.err = h.Run(ctx, env)
	}()
	t.Cleanup(func() {
		stop()
		<-r.ended
	})
	return r
}

// Write keeps a line of the log. Lines beyond what a test needs are dropped.
func (r *running) Write(line []byte) (int, error) {
	select {
	case r.lines <- string(line):
	default:
	}
	return len(line), nil
}

// expect waits for a line of the log.
func (r *running) expect(t *testing.T, text string) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case line := <-r.lines:
			if strings.Contains(line, text) {
				return
			}
		case <-late:
			t.Fatalf("no line with %q in the log", text)
		}
	}
}

// end waits for the end of Run.
func (r *running) end(t *testing.T) error {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		t.Fatal("Run has not returned")
	}
	return r.err
}

// socketPath returns a path that is short enough for a socket.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "helper")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// leaveStale leaves a stale socket file, as a daemon does when it is killed.
func leaveStale(t *testing.T, l *aesm.Listener) {
	t.Helper()
	path := l.Addr().String()
	for _, err := range []error{os.Rename(path, path+"~"), l.Close(), os.Rename(path+"~", path)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func newBackend(t *testing.T, node string) *simulated.Backend {
	t.Helper()
	b, err := simulated.New(node)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// failing is a backend whose InitQuote fails until fails is cleared.
type failing struct {
	*simulated.Backend
	fails  atomic.Bool
	called chan struct{} // receives for each InitQuote
}

func newFailing(t *testing.T, node string) *failing {
	f := &failing{Backend: newBackend(t, node), called: make(chan struct{}, 64)}
	f.fails.Store(true)
	return f
}

func (f *failing) InitQuote(ctx context.Context) (aesm.Initialized, error) {
	f.called <- struct{}{}
	if f.fails.Load() {
		return aesm.Initialized{}, errors.New("not today")
	}
	return f.Backend.InitQuote(ctx)
}

// blocking is a backend whose Quote blocks until release is closed. It is not a
// quoting.Reporter, so that checks call no Quote.
type blocking struct {
	quoting.Backend
	called  chan struct{} // receives for each Quote
	release chan struct{}
}

func newBlocking(t *testing.T) *blocking {
	return &blocking{Backend: newBackend(t, "node"), called: make(chan struct{}, 1), release: make(chan struct{})}
}

func (s *blocking) Quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	s.called <- struct{}{}
	select {
	case <-s.release:
		return s.Backend.Quote(ctx, report, challenge)
	case <-ctx.Done():
		return aesm.Quoted{}, ctx.Err()
	}
}

// getQuote gets a quote as an application does.
func getQuote(ctx context.Context, socket string) error {
	client := aesm.Client{Socket: socket}
	data, err := client.Quote(ctx, func(_ context.Context, target sgx.TargetInfo) (sgx.Report, error) {
		return simulation.DefaultCPU().Report(sgx.ReportBody{}, target)
	})
	if err == nil {
		_, err = quote.Parse(data)
	}
	return err
}

// expectServedBy checks that the daemon behind a socket has the key of a backend.
func expectServedBy(t *testing.T, socket string, p interface {
	InitQuote(context.Context) (aesm.Initialized, error)
}) {
	t.Helper()
	client := aesm.Client{Socket: socket}
	got, err := client.InitQuote(t.Context(), aesm.IntelQE3KeyID())
	if err != nil {
		t.Error(err)
		return
	}
	if want, _ := p.InitQuote(t.Context()); got != want {
		t.Error("another backend has answered")
	}
}

func dial(t *testing.T, socket string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// askOn makes a request on an open connection.
func askOn(ctx context.Context, conn net.Conn) error {
	client := aesm.Client{Timeout: patience, Dial: func(context.Context) (net.Conn, error) { return conn, nil }}
	_, err := client.QuoteSize(ctx, aesm.IntelQE3KeyID())
	return err
}

func TestServes(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket})
	r.expect(t, "serving quotes")
	if err := getQuote(t.Context(), socket); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "msg=quote request=GetQuoteEx peer.") // with the caller
	r.stop()
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	const want = `
# HELP sgx_quote_helper_connections Open connections.
# TYPE sgx_quote_helper_connections gauge
sgx_quote_helper_connections 0
# HELP sgx_quote_helper_requests_total Requests answered, by kind of request and AESM code of the answer.
# TYPE sgx_quote_helper_requests_total counter
sgx_quote_helper_requests_total{code="SUCCESS",request="GetQuoteEx"} 1
sgx_quote_helper_requests_total{code="SUCCESS",request="GetQuoteSizeEx"} 1
sgx_quote_helper_requests_total{code="SUCCESS",request="InitQuoteEx"} 2
sgx_quote_helper_requests_total{code="SUCCESS",request="SelectAttKeyID"} 1
`
	if err := testutil.GatherAndCompare(r.metrics, strings.NewReader(want), "sgx_quote_helper_connections", "sgx_quote_helper_requests_total"); err != nil {
		t.Error(err)
	}
}

// A stopping helper finishes the connections made before, and removes its socket.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket})
	r.expect(t, "serving quotes")
	var conns []net.Conn
	for range 16 { // some accepted by now, some not
		conns = append(conns, dial(t, socket))
	}
	r.stop()
	var asking sync.WaitGroup
	for i, conn := range conns {
		asking.Go(func() { // at the same time: a stopping helper does not wait for long
			if err := askOn(t.Context(), conn); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	asking.Wait()
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A quote in progress is finished, whatever happens to the socket.
func TestQuoteInProgress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		ends bool // the helper does
		what func(t *testing.T, r *running, socket string)
	}{
		{"the helper stops", true, func(t *testing.T, r *running, socket string) {
			r.stop()
			late := time.After(patience)
			for {
				if _, err := os.Lstat(socket); errors.Is(err, fs.ErrNotExist) {
					return // it is stopping
				}
				select {
				case <-late:
					t.Fatal("the socket is still there")
				case <-time.After(time.Millisecond):
				}
			}
		}},
		{"another daemon takes over", true, func(t *testing.T, r *running, socket string) {
			successor, err := aesm.TakeOver(socket)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { successor.Close() })
			r.expect(t, "another daemon has taken over the socket")
		}},
		{"the file is removed", false, func(t *testing.T, r *running, socket string) {
			if err := os.Remove(socket); err != nil {
				t.Fatal(err)
			}
			r.expect(t, "serving quotes")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			socket, backend := socketPath(t), newBlocking(t)
			r := start(t, &Helper{Backend: backend, Socket: socket})
			r.expect(t, "serving quotes")
			got := make(chan error, 1)
			go func() { got <- getQuote(context.Background(), socket) }()
			<-backend.called
			tt.what(t, r, socket)
			select {
			case err := <-got:
				t.Fatalf("answered before the quote was made: %v", err)
			case <-r.ended:
				t.Fatal("the helper ended before it made the quote")
			default:
			}
			close(backend.release)
			if err := <-got; err != nil {
				t.Error(err)
			}
			if tt.ends {
				if err := r.end(t); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A helper whose socket file is removed creates a new one in the same directory, and
// finishes the connections to the old one.
func TestRemovedSocket(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	directory, err := os.Stat(filepath.Dir(socket))
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket})
	r.expect(t, "serving quotes")
	early := dial(t, socket)
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	removed := time.Now()
	r.expect(t, "level=WARN msg=\"socket file was missing or stale: listening again")
	r.expect(t, "serving quotes")
	if d := time.Since(removed); d > 5*time.Second { // even on a busy machine
		t.Errorf("a new socket took %s", d)
	}
	if err := getQuote(t.Context(), socket); err != nil {
		t.Error(err)
	}
	if err := askOn(t.Context(), early); err != nil {
		t.Errorf("connection made before: %v", err)
	}
	if after, err := os.Stat(filepath.Dir(socket)); err != nil || !os.SameFile(directory, after) {
		t.Errorf("another directory: %v", err)
	}
}

// A helper does not touch another file in the place of its socket: it finishes its
// connections and ends with an error.
func TestFileInPlaceOfSocket(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket, TakeOver: true, StandBy: true})
	r.expect(t, "serving quotes")
	early := dial(t, socket)
	file := socket + "~"
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file, socket); err != nil {
		t.Fatal(err)
	}
	if err := askOn(t.Context(), early); err != nil {
		t.Errorf("connection made before: %v", err)
	}
	if err := r.end(t); !errors.Is(err, aesm.ErrNotSocket) || !strings.Contains(err.Error(), socket) {
		t.Errorf("%v, want %v", err, aesm.ErrNotSocket)
	}
	if left, err := os.ReadFile(socket); string(left) != "mine" {
		t.Errorf("the file has %q: %v", left, err)
	}
}

func TestStaleSocket(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	l, err := aesm.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	leaveStale(t, l)
	r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket})
	r.expect(t, "serving quotes")
	if err := getQuote(t.Context(), socket); err != nil {
		t.Error(err)
	}
}

func TestNoSocket(t *testing.T) {
	t.Parallel()
	live := socketPath(t)
	l, err := aesm.Listen(live)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := filepath.Join(filepath.Dir(live), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		socket   string
		takeOver bool
		want     error
		advice   string
	}{
		{"socket of a running daemon", live, false, aesm.ErrInUse, "take over"},
		{"another file", file, false, aesm.ErrNotSocket, "remove it"},
		{"another file, with TakeOver", file, true, aesm.ErrNotSocket, "remove it"},
		{"no directory", filepath.Join(file, "s"), false, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: tt.socket, TakeOver: tt.takeOver})
			err := r.end(t)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.socket) || !strings.Contains(err.Error(), tt.advice) {
				t.Errorf("%v, want %v and %q", err, tt.want, tt.advice)
			}
		})
	}
	if !l.Current() {
		t.Error("the running daemon has lost its socket")
	}
}

// A helper takes over as soon as it can make quotes, and not before.
func TestTakeOverNeedsQuotes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		recovers bool
	}{
		{"backend recovers", true},
		{"backend keeps failing", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			socket := socketPath(t)
			oldBackend, newBackend := newBackend(t, "old"), newFailing(t, "new")
			old := start(t, &Helper{Backend: oldBackend, Socket: socket})
			old.expect(t, "serving quotes")
			r := start(t, &Helper{Backend: newBackend, Socket: socket, TakeOver: true})
			<-newBackend.called
			r.expect(t, "level=WARN msg=\"quotes unavailable\" error=\"backend: not today\"")
			expectServedBy(t, socket, oldBackend)
			newBackend.fails.Store(!tt.recovers)
			<-newBackend.called // the next check
			if tt.recovers {
				r.expect(t, "quotes available again")
				r.expect(t, "serving quotes")
				expectServedBy(t, socket, newBackend)
				if err := old.end(t); err != nil {
					t.Error(err)
				}
				return
			}
			expectServedBy(t, socket, oldBackend)
			r.stop()
			if err := r.end(t); err != nil {
				t.Error(err)
			}
			expectServedBy(t, socket, oldBackend)
		})
	}
}

// A helper that cannot make quotes still takes a free socket, since some requests need
// no quote, and checks again.
func TestServesWithoutQuotes(t *testing.T) {
	t.Parallel()
	socket, backend := socketPath(t), newFailing(t, "node")
	r := start(t, &Helper{Backend: backend, Socket: socket})
	r.expect(t, "serving quotes")
	if err := getQuote(t.Context(), socket); !errors.Is(err, aesm.CodeUnexpected) {
		t.Errorf("%v", err)
	}
	if keys, err := (&aesm.Client{Socket: socket}).SupportedKeyIDs(t.Context()); len(keys) != 1 || err != nil {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	backend.fails.Store(false)
	r.expect(t, "quotes available again")
	if err := getQuote(t.Context(), socket); err != nil {
		t.Error(err)
	}
}

func TestReplaced(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket})
	r.expect(t, "serving quotes")
	early := dial(t, socket)
	successor, err := aesm.TakeOver(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	r.expect(t, "another daemon has taken over the socket")
	if err := askOn(t.Context(), early); err != nil {
		t.Errorf("connection made before: %v", err)
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if !successor.Current() {
		t.Error("the successor has lost its socket")
	}
}

// A helper that stands by takes the socket back, but only from a daemon that is gone.
func TestStandBy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, successor *aesm.Listener)
	}{
		{"the successor dies", leaveStale},
		{"the successor ends", func(t *testing.T, l *aesm.Listener) {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			socket := socketPath(t)
			r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket, TakeOver: true, StandBy: true})
			r.expect(t, "serving quotes")
			successor, err := aesm.TakeOver(socket)
			if err != nil {
				t.Fatal(err)
			}
			r.expect(t, "another daemon has taken over the socket")
			for range 2 { // polls of the helper that stands by
				conn, err := successor.Accept()
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
			}
			if !successor.Current() {
				t.Error("a running daemon has lost its socket")
			}
			tt.end(t, successor)
			r.expect(t, "socket file was missing or stale: listening again")
			r.expect(t, "serving quotes")
			if err := getQuote(t.Context(), socket); err != nil {
				t.Error(err)
			}
			r.stop()
			if err := r.end(t); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStandByStops(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket, StandBy: true})
	r.expect(t, "serving quotes")
	successor, err := aesm.TakeOver(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	r.expect(t, "another daemon has taken over the socket")
	r.stop()
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if !successor.Current() {
		t.Error("the successor has lost its socket")
	}
}

// No client notices helpers that take over from each other.
func TestManyTakeOvers(t *testing.T) {
	t.Parallel()
	socket, backend := socketPath(t), newBackend(t, "node")
	directory, err := os.Stat(filepath.Dir(socket))
	if err != nil {
		t.Fatal(err)
	}
	first := start(t, &Helper{Backend: backend, Socket: socket})
	first.expect(t, "serving quotes")

	asking, enough := context.WithCancel(t.Context())
	defer enough()
	var clients sync.WaitGroup
	var quotes atomic.Int32
	for range 4 {
		clients.Go(func() {
			for asking.Err() == nil {
				if err := getQuote(t.Context(), socket); err != nil {
					t.Error(err)
					return
				}
				quotes.Add(1)
			}
		})
	}
	helpers := []*running{first}
	for range 20 {
		r := start(t, &Helper{Backend: backend, Socket: socket, TakeOver: true})
		r.expect(t, "serving quotes")
		if err := getQuote(t.Context(), socket); err != nil {
			t.Error(err)
		}
		helpers = append(helpers, r)
	}
	for _, replaced := range helpers[:len(helpers)-1] {
		if err := replaced.end(t); err != nil {
			t.Error(err)
		}
	}
	enough()
	clients.Wait()
	if quotes.Load() == 0 {
		t.Error("the clients got no quotes")
	}
	if after, err := os.Stat(filepath.Dir(socket)); err != nil || !os.SameFile(directory, after) {
		t.Errorf("another directory: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(socket)); len(left) != 2 {
		t.Errorf("files in the directory: %v, want only the socket and the targets", left)
	}
}

// renamed is a backend with another quoting enclave.
type renamed struct{ *simulated.Backend }

func (r renamed) InitQuote(ctx context.Context) (aesm.Initialized, error) {
	ready, err := r.Backend.InitQuote(ctx)
	ready.TargetInfo.MREnclave[0]++
	return ready, err
}

func (renamed) Quote(context.Context, sgx.Report, *aesm.Challenge) (aesm.Quoted, error) {
	return aesm.Quoted{}, aesm.CodeInvalidReport
}

// A helper with another quoting enclave answers reports that were made before it
// started with the code on which clients fetch the target again.
func TestReportFromBefore(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	backend := newBackend(t, "node")
	first := start(t, &Helper{Backend: backend, Socket: socket})
	first.expect(t, "serving quotes")
	client, key := aesm.Client{Socket: socket}, aesm.IntelQE3KeyID()
	if _, err := client.InitQuote(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		backend quoting.Backend
		want    aesm.Code
	}{
		{"the same quoting enclave", backend, aesm.CodeInvalidReport},
		{"another quoting enclave", struct{ quoting.Backend }{renamed{backend}}, aesm.CodeAttKeyNotInitialized}, // which is no Reporter
		{"the first one again", backend, aesm.CodeAttKeyNotInitialized},
	} {
		first.stop()
		if err := first.end(t); err != nil {
			t.Error(err)
		}
		first = start(t, &Helper{Backend: tt.backend, Socket: socket})
		first.expect(t, "serving quotes")
		size, err := client.QuoteSize(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.GetQuote(t.Context(), key, sgx.Report{}, size, nil); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if err := getQuote(t.Context(), socket); err != nil {
		t.Error(err)
	}
}

// script is a backend whose InitQuote returns one error after the other, and the
// last one again and again.
type script struct {
	quoting.Backend
	start time.Time
	takes time.Duration
	errs  []error
	times []int // of the calls, in seconds since start
}

func (s *script) InitQuote(ctx context.Context) (aesm.Initialized, error) {
	err := s.errs[min(len(s.times), len(s.errs)-1)]
	s.times = append(s.times, int(time.Since(s.start).Seconds()))
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(s.takes):
	}
	if err != nil {
		return aesm.Initialized{}, err
	}
	return s.Backend.InitQuote(ctx)
}

// A backend is checked every 10 seconds while it works, and every second while it
// fails. Only changes are logged.
func TestChecks(t *testing.T) {
	failure := errors.New("not today")
	const (
		unavailable = "level=WARN msg=\"quotes unavailable\" error=\"backend: not today\"\n"
		available   = "level=INFO msg=\"quotes available again\"\n"
		timeout     = "level=WARN msg=\"quotes unavailable\" error=\"backend: no answer from the quote backend within 10s: context deadline exceeded\"\n"
	)
	for _, tt := range []struct {
		name  string
		errs  []error
		takes time.Duration
		times []int // of the checks, in seconds
		log   string
		ready bool // a check has succeeded
	}{
		{"works", []error{nil}, 0, []int{0, 10, 20, 30}, "", true},
		{"fails", []error{failure}, 0, []int{0, 1, 2, 3}, unavailable, false},
		{"recovers", []error{failure, failure, nil}, 0, []int{0, 1, 2, 12}, unavailable + available, true},
		{"begins to fail", []error{nil, failure}, 0, []int{0, 10, 11, 12}, unavailable, true},
		{"fails now and then", []error{nil, failure, nil, failure}, 0, []int{0, 10, 11, 21, 22}, unavailable + available + unavailable, true},
		{"slow", []error{nil}, 9 * time.Second, []int{0, 19, 38}, "", true},
		{"hangs", []error{nil}, time.Hour, []int{0, 11, 22}, timeout, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := &script{Backend: newBackend(t, "node"), start: time.Now(), takes: tt.takes, errs: tt.errs}
				var log strings.Builder
				c := newChecker(quoting.NewService(backend, 1, nil),
					slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: withoutTime})),
					new(daemon.Health).Condition("quotes"))
				ctx, stop := context.WithCancel(t.Context())
				var checks sync.WaitGroup
				checks.Go(func() { c.run(ctx) })
				time.Sleep(time.Duration(tt.times[len(tt.times)-1]) * time.Second)
				synctest.Wait()
				stop()
				checks.Wait()

				if !slices.Equal(backend.times, tt.times) {
					t.Errorf("checked at %d seconds, want %d", backend.times, tt.times)
				}
				if log.String() != tt.log {
					t.Errorf("log:\n%swant:\n%s", &log, tt.log)
				}
				ready := false
				select {
				case <-c.ready:
					ready = true
				default:
				}
				if ready != tt.ready {
					t.Errorf("ready: %t, want %t", ready, tt.ready)
				}
			})
		})
	}
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
