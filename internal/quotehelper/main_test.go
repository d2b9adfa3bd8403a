package quotehelper

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
	if socket := os.Getenv(foreignEnv); socket != "" {
		serveForeign(socket)
	}
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

// expect waits for a line of the log, and returns it.
func (r *running) expect(t *testing.T, text string) string {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case line := <-r.lines:
			if strings.Contains(line, text) {
				return line
			}
		case <-late:
			t.Fatalf("no line with %q in the log", text)
			return ""
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
	want, _ := p.InitQuote(t.Context())
	want.Backend = aesm.Backend{} // clients do not ask for it
	if got != want {
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
