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
	// Most of these tests wait for a helper that looks at its socket every now and
	// then. They wait together, on small machines, too.
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// patience is more than anything here takes.
const patience = 10 * time.Second

// running is a helper that runs.
type running struct {
	lines   chan string // of its log
	metrics *prometheus.Registry
	stop    context.CancelFunc
	ended   chan struct{}
	err     error // what Run has returned, once it has ended
}

// start runs a helper until the test ends.
func start(t *testing.T, h *Helper) *running {
	t.Helper()
	if h.Slots == 0 {
		h.Slots = 2
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

// Write takes a line of the log. There is no room for more than a test needs.
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
			t.Fatalf("the log never says %q", text)
		}
	}
}

// end waits for the end of Run.
func (r *running) end(t *testing.T) error {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	return r.err
}

// socketPath returns a path for a socket that is short enough.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "helper")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// leaveStale leaves the socket of a listener as a daemon does that is killed.
func leaveStale(t *testing.T, l *aesm.Listener) {
	t.Helper()
	path := l.Addr().String()
	for _, err := range []error{os.Rename(path, path+"~"), l.Close(), os.Rename(path+"~", path)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func newPlatform(t *testing.T, node string) *simulated.Backend {
	t.Helper()
	p, err := simulated.New(node)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// moody is a platform whose InitQuote fails while it is in the mood.
type moody struct {
	*simulated.Backend
	bad   atomic.Bool
	asked chan struct{} // receives for each InitQuote
}

func newMoody(t *testing.T, node string) *moody {
	m := &moody{Backend: newPlatform(t, node), asked: make(chan struct{}, 64)}
	m.bad.Store(true)
	return m
}

func (m *moody) InitQuote(ctx context.Context) (aesm.Initialized, error) {
	m.asked <- struct{}{}
	if m.bad.Load() {
		return aesm.Initialized{}, errors.New("not today")
	}
	return m.Backend.InitQuote(ctx)
}

// slow is a platform whose quotes take until it is told to make them. It is no
// quoting.Reporter, so that a check of it asks for no quote.
type slow struct {
	quoting.Backend
	asked chan struct{} // receives for each quote
	made  chan struct{} // closed when they are to be made
}

func newSlow(t *testing.T) *slow {
	return &slow{Backend: newPlatform(t, "node"), asked: make(chan struct{}, 1), made: make(chan struct{})}
}

func (s *slow) Quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	s.asked <- struct{}{}
	select {
	case <-s.made:
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

// expectServedBy checks that the daemon behind a socket has a platform's key.
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
		t.Error("another platform has answered")
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

// askOn has an exchange on a connection that is there.
func askOn(ctx context.Context, conn net.Conn) error {
	client := aesm.Client{Timeout: patience, Dial: func(context.Context) (net.Conn, error) { return conn, nil }}
	_, err := client.QuoteSize(ctx, aesm.IntelQE3KeyID())
	return err
}

func TestServes(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	r := start(t, &Helper{Backend: newPlatform(t, "node"), Socket: socket})
	r.expect(t, "serving quotes")
	if err := getQuote(t.Context(), socket); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "msg=quote request=GetQuoteEx peer.") // with who it was
	r.stop()
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	const want = `
# HELP sgx_quote_helper_connections Open connections.
# TYPE sgx_quote_helper_connections gauge
sgx_quote_helper_connections 0
# HELP sgx_quote_helper_requests_total Requests that were answered, by their kind and the AESM code of the answer.
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

// Whoever has connected by the end is served, and finds no socket afterwards.
func TestStopServesWhoHasConnected(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	r := start(t, &Helper{Backend: newPlatform(t, "node"), Socket: socket})
	r.expect(t, "serving quotes")
	var conns []net.Conn
	for range 16 { // some were accepted by now, and some were not
		conns = append(conns, dial(t, socket))
	}
	r.stop()
	for i, conn := range conns {
		if err := askOn(t.Context(), conn); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A quote that is being made is made to the end, whatever becomes of the socket.
func TestQuoteInTheMaking(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		ends bool // the helper does
		what func(t *testing.T, r *running, socket string)
	}{
		{"the helper is asked to stop", true, func(t *testing.T, r *running, socket string) {
			r.stop()
			late := time.After(patience)
			for {
				if _, err := os.Lstat(socket); errors.Is(err, fs.ErrNotExist) {
					return // it has begun to
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
			r.expect(t, "another daemon has taken the socket")
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
			socket, platform := socketPath(t), newSlow(t)
			r := start(t, &Helper{Backend: platform, Socket: socket})
			r.expect(t, "serving quotes")
			got := make(chan error, 1)
			go func() { got <- getQuote(context.Background(), socket) }()
			<-platform.asked
			tt.what(t, r, socket)
			select {
			case err := <-got:
				t.Fatalf("no quote was made, but there is an answer: %v", err)
			case <-r.ended:
				t.Fatal("the helper has ended before it made the quote")
			default:
			}
			close(platform.made)
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

// A socket whose file is removed is put in place again, in the same directory.
// Who has connected to the last one is served.
func TestRemovedSocket(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	directory, err := os.Stat(filepath.Dir(socket))
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, &Helper{Backend: newPlatform(t, "node"), Socket: socket})
	r.expect(t, "serving quotes")
	early := dial(t, socket)
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	removed := time.Now()
	r.expect(t, "level=WARN msg=\"nobody served the socket any more")
	r.expect(t, "serving quotes")
	if d := time.Since(removed); d > 5*time.Second { // on a machine that is busy, too
		t.Errorf("it took %s", d)
	}
	if err := getQuote(t.Context(), socket); err != nil {
		t.Error(err)
	}
	if err := askOn(t.Context(), early); err != nil {
		t.Errorf("the one that had connected: %v", err)
	}
	if after, err := os.Stat(filepath.Dir(socket)); err != nil || !os.SameFile(directory, after) {
		t.Errorf("another directory: %v", err)
	}
}

// What somebody else has put in the place of the socket is not touched. That is
// an end with an error, and not before whoever has connected is served.
func TestFileInPlaceOfSocket(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	r := start(t, &Helper{Backend: newPlatform(t, "node"), Socket: socket, TakeOver: true, StandBy: true})
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
		t.Errorf("the one that had connected: %v", err)
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
	r := start(t, &Helper{Backend: newPlatform(t, "node"), Socket: socket})
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
		{"of a live daemon", live, false, aesm.ErrInUse, "--takeover"},
		{"a file", file, false, aesm.ErrNotSocket, "remove it"},
		{"a file, to be taken over", file, true, aesm.ErrNotSocket, "remove it"},
		{"in no directory", filepath.Join(file, "s"), false, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, &Helper{Backend: newPlatform(t, "node"), Socket: tt.socket, TakeOver: tt.takeOver})
			err := r.end(t)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.socket) || !strings.Contains(err.Error(), tt.advice) {
				t.Errorf("%v, want %v and %q", err, tt.want, tt.advice)
			}
		})
	}
	if !l.Current() {
		t.Error("the live daemon has lost its socket")
	}
}

// A helper takes over as soon as it can quote, and not before.
func TestTakeOverNeedsQuotes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		gets bool // well
	}{
		{"it gets well", true},
		{"it does not", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			socket := socketPath(t)
			oldPlatform, newPlatform := newPlatform(t, "old"), newMoody(t, "new")
			old := start(t, &Helper{Backend: oldPlatform, Socket: socket})
			old.expect(t, "serving quotes")
			r := start(t, &Helper{Backend: newPlatform, Socket: socket, TakeOver: true})
			<-newPlatform.asked
			r.expect(t, "level=WARN msg=\"there are no quotes\" error=\"backend: not today\"")
			expectServedBy(t, socket, oldPlatform)
			newPlatform.bad.Store(!tt.gets)
			<-newPlatform.asked // again, after a while
			if tt.gets {
				r.expect(t, "there are quotes again")
				r.expect(t, "serving quotes")
				expectServedBy(t, socket, newPlatform)
				if err := old.end(t); err != nil {
					t.Error(err)
				}
				return
			}
			expectServedBy(t, socket, oldPlatform)
			r.stop()
			if err := r.end(t); err != nil {
				t.Error(err)
			}
			expectServedBy(t, socket, oldPlatform)
		})
	}
}

// A platform that cannot quote gets a socket that nobody has, since some requests
// need none; and is asked again.
func TestServesWithoutQuotes(t *testing.T) {
	t.Parallel()
	socket, platform := socketPath(t), newMoody(t, "node")
	r := start(t, &Helper{Backend: platform, Socket: socket})
	r.expect(t, "serving quotes")
	if err := getQuote(t.Context(), socket); !errors.Is(err, aesm.CodeUnexpected) {
		t.Errorf("%v", err)
	}
	if keys, err := (&aesm.Client{Socket: socket}).SupportedKeyIDs(t.Context()); len(keys) != 1 || err != nil {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	platform.bad.Store(false)
	r.expect(t, "there are quotes again")
	if err := getQuote(t.Context(), socket); err != nil {
		t.Error(err)
	}
}

func TestReplaced(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	r := start(t, &Helper{Backend: newPlatform(t, "node"), Socket: socket})
	r.expect(t, "serving quotes")
	early := dial(t, socket)
	successor, err := aesm.TakeOver(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	r.expect(t, "another daemon has taken the socket")
	if err := askOn(t.Context(), early); err != nil {
		t.Errorf("the one that had connected: %v", err)
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if !successor.Current() {
		t.Error("the successor has lost its socket")
	}
}

// A helper that stands by takes the socket again, but only from one that is gone.
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
			r := start(t, &Helper{Backend: newPlatform(t, "node"), Socket: socket, TakeOver: true, StandBy: true})
			r.expect(t, "serving quotes")
			successor, err := aesm.TakeOver(socket)
			if err != nil {
				t.Fatal(err)
			}
			r.expect(t, "another daemon has taken the socket")
			for range 2 { // looks whether it is alive
				conn, err := successor.Accept()
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
			}
			if !successor.Current() {
				t.Error("a live daemon has lost its socket")
			}
			tt.end(t, successor)
			r.expect(t, "nobody served the socket any more")
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
	r := start(t, &Helper{Backend: newPlatform(t, "node"), Socket: socket, StandBy: true})
	r.expect(t, "serving quotes")
	successor, err := aesm.TakeOver(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	r.expect(t, "another daemon has taken the socket")
	r.stop()
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if !successor.Current() {
		t.Error("the successor has lost its socket")
	}
}

// However often helpers take over from each other, no client notices.
func TestManyTakeOvers(t *testing.T) {
	t.Parallel()
	socket, platform := socketPath(t), newPlatform(t, "node")
	directory, err := os.Stat(filepath.Dir(socket))
	if err != nil {
		t.Fatal(err)
	}
	first := start(t, &Helper{Backend: platform, Socket: socket})
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
		r := start(t, &Helper{Backend: platform, Socket: socket, TakeOver: true})
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
	if left, _ := os.ReadDir(filepath.Dir(socket)); len(left) != 1 {
		t.Errorf("in the directory: %v", left)
	}
}

// script is a platform whose InitQuote returns one error after the other, and the
// last one again and again.
type script struct {
	quoting.Backend
	began time.Time
	takes time.Duration
	errs  []error
	times []int // at how many seconds since it began it was asked
}

func (s *script) InitQuote(ctx context.Context) (aesm.Initialized, error) {
	err := s.errs[min(len(s.times), len(s.errs)-1)]
	s.times = append(s.times, int(time.Since(s.began).Seconds()))
	if !pause(ctx, s.takes) {
		err = ctx.Err()
	}
	if err != nil {
		return aesm.Initialized{}, err
	}
	return s.Backend.InitQuote(ctx)
}

// The platform is checked seldom while it is well, and often while it is not. The
// log tells of the changes only.
func TestChecks(t *testing.T) {
	ill := errors.New("not today")
	const (
		no     = "level=WARN msg=\"there are no quotes\" error=\"backend: not today\"\n"
		yes    = "level=INFO msg=\"there are quotes again\"\n"
		silent = "level=WARN msg=\"there are no quotes\" error=\"backend: no answer from the platform within 10s: context deadline exceeded\"\n"
	)
	for _, tt := range []struct {
		name  string
		errs  []error
		takes time.Duration
		times []int // at how many seconds
		log   string
		able  bool // it is, or was
	}{
		{"well", []error{nil}, 0, []int{0, 10, 20, 30}, "", true},
		{"ill", []error{ill}, 0, []int{0, 1, 2, 3}, no, false},
		{"gets well", []error{ill, ill, nil}, 0, []int{0, 1, 2, 12}, no + yes, true},
		{"falls ill", []error{nil, ill}, 0, []int{0, 10, 11, 12}, no, true},
		{"comes and goes", []error{nil, ill, nil, ill}, 0, []int{0, 10, 11, 21, 22}, no + yes + no, true},
		{"slow", []error{nil}, 9 * time.Second, []int{0, 19, 38}, "", true},
		{"hangs", []error{nil}, time.Hour, []int{0, 11, 22}, silent, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				platform := &script{Backend: newPlatform(t, "node"), began: time.Now(), takes: tt.takes, errs: tt.errs}
				var log strings.Builder
				k := &keeper{
					log:    slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: withoutTime})),
					quotes: new(daemon.Health).Condition("quotes"),
					able:   make(chan struct{}),
				}
				ctx, stop := context.WithCancel(t.Context())
				var checks sync.WaitGroup
				checks.Go(func() { k.check(ctx, quoting.NewService(platform, 1, nil)) })
				time.Sleep(time.Duration(tt.times[len(tt.times)-1]) * time.Second)
				synctest.Wait()
				stop()
				checks.Wait()

				if !slices.Equal(platform.times, tt.times) {
					t.Errorf("checked at %d seconds, want %d", platform.times, tt.times)
				}
				if log.String() != tt.log {
					t.Errorf("the log is\n%swant\n%s", &log, tt.log)
				}
				able := false
				select {
				case <-k.able:
					able = true
				default:
				}
				if able != tt.able {
					t.Errorf("able: %t", able)
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
