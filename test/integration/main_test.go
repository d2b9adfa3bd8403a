// Package integration runs the quote helper with real workers, under load, while faults
// are injected into the stand-in for Intel's library (internal/backend/dcap/dcaptest).
package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap"
	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/dcap/dcaptest"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/loadgen"
	"github.com/confcom/confcom/internal/quotehelper"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if programs != "" {
			_ = os.RemoveAll(programs) // a temporary directory may stay
		}
		os.Exit(code)
	}))
}

// testTimeout is longer than anything here takes.
const testTimeout = 30 * time.Second

// programs is the directory that built has made, for TestMain to remove.
var programs string

// built returns the directory with the worker program, which is built once, and has the
// stand-in compiled before many tests need it.
var built = sync.OnceValues(func() (dir string, err error) {
	dir, err = os.MkdirTemp("", "dcap")
	if err != nil {
		return "", err
	}
	programs = dir
	if _, err := dcaptest.Build(dir, "node-1"); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", dir, "../../cmd/sgx-quote-worker")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	compile := exec.Command("gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror",
		"-o", filepath.Join(dir, "libconfcom_provider.so"), "../../cmd/sgx-quote-worker/provider/provider.c")
	for _, cmd := range []*exec.Cmd{build, compile} {
		if output, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", cmd, err, output)
		}
	}
	return dir, nil
})

// memoryLimit is more than a worker needs, in bytes, unless it is made to grow.
const memoryLimit = 96 << 20

// node is a quote helper with workers.
type node struct {
	library  *dcaptest.Library
	faults   dcaptest.Faults
	counters dcaptest.Counters
	config   config.Config // may be changed before run
	log      *log
	backend  *dcap.Backend
	registry *prometheus.Registry
	socket   string
}

// start starts a helper until the test ends, and waits until it makes quotes.
func start(t testing.TB, workers int, delay time.Duration) *node {
	t.Helper()
	n := prepare(t, workers, delay)
	n.run(t)
	n.awaitQuotes(t)
	return n
}

// awaitQuotes waits for all workers, and until a client gets a quote.
func (n *node) awaitQuotes(t testing.TB) {
	t.Helper()
	n.await(t, "all workers", func() bool { return n.value("sgx_quote_helper_workers") == float64(n.config.Workers) })
	for deadline := time.Now().Add(testTimeout); n.quote(t.Context()) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(n.quote(t.Context()))
		}
	}
}

// prepare returns a helper that does not run yet.
func prepare(t testing.TB, workers int, delay time.Duration) *node {
	t.Helper()
	n := &node{
		faults: dcaptest.Faults(t.TempDir()), counters: dcaptest.Counters(t.TempDir()),
		registry: prometheus.NewRegistry(), socket: filepath.Join(t.TempDir(), "s"), log: &log{t: t},
	}
	programs, err := built()
	if errors.Is(err, dcaptest.ErrNoCompiler) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err == nil {
		n.library, err = dcaptest.Build(t.TempDir(), "node-1")
	}
	if err != nil {
		t.Fatal(err)
	}
	configuration := filepath.Join(n.library.Dir, "qcnl.conf")
	if err := os.WriteFile(configuration, []byte(`{"pccs_url": "`+service+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(append(os.Environ(), n.library.Env()...), dcaptest.Delay(delay), "SGX_AESM_ADDR=1")
	if _, isBenchmark := t.(*testing.B); !isBenchmark { // looking for faults takes time
		env = append(env, n.faults.Env(), n.counters.Env())
	}
	c := config.Default()
	c.Workers = workers
	c.Program = filepath.Join(programs, "sgx-quote-worker")
	c.MemoryLimit = memoryLimit
	c.Library, c.Provider = n.library.Path(dcaptest.QuotingLibrary), n.library.Path(dcaptest.Provider)
	c.QCNL, c.Certificates = configuration, filepath.Join(t.TempDir(), "certificates")
	c.Env = env
	n.config = c
	return n
}

// service is the certificate service of all nodes.
const service = "https://pccs.example/sgx/certification/v4/"

// run runs the helper until the test ends.
func (n *node) run(t testing.TB) {
	t.Helper()
	var err error
	if n.backend, err = dcap.Start(n.config, slog.New(slog.NewTextHandler(n.log, nil)), dcap.NewMetrics(n.registry)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.backend.Close)
	helper := quotehelper.Helper{Backend: n.backend, Concurrency: n.config.Workers, Socket: n.socket}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- helper.Run(ctx, &daemon.Environment{Log: slog.New(slog.DiscardHandler), Health: new(daemon.Health), Metrics: n.registry})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// log is the log of a helper. Its warnings are also in that of the test.
type log struct {
	t     testing.TB
	mu    sync.Mutex
	lines []string
}

func (l *log) Write(line []byte) (int, error) {
	text := string(line)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, text)
	if !strings.Contains(text, "level=INFO") {
		l.t.Log(text)
	}
	return len(line), nil
}

// count returns how many lines have all texts in them.
func (l *log) count(texts ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			n++
		}
	}
	return n
}

func (n *node) client() *aesm.Client { return &aesm.Client{Socket: n.socket} }

// reportData returns the report data of all reports.
func reportData() [64]byte { return [64]byte{1, 2, 3} }

// makeReport makes a report as an enclave does.
func makeReport(_ context.Context, target sgx.TargetInfo) (sgx.Report, error) {
	return simulation.DefaultCPU().Report(sgx.ReportBody{ReportData: reportData()}, target)
}

// quote requests a quote as an application does, and checks it.
func (n *node) quote(ctx context.Context) error {
	data, err := n.client().Quote(ctx, makeReport)
	if err != nil {
		return err
	}
	q, err := quote.Parse(data)
	if err == nil && q.Enclave.ReportData != reportData() {
		err = errors.New("the quote is of another report")
	}
	return err
}

// load has clients request quotes without pause until done returns, and at least one
// was made. A quote that fails fails the test.
func (n *node) load(t testing.TB, clients int, done func()) loadgen.Result {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	made := make(chan struct{})
	first := sync.OnceFunc(func() { close(made) })
	go func() {
		defer stop()
		done()
		select {
		case <-made:
		case <-time.After(testTimeout):
		}
	}()
	result := loadgen.Run(ctx, loadgen.Options{Clients: clients, Do: func(ctx context.Context) error {
		err := n.quote(ctx)
		if err == nil {
			first()
		}
		return err
	}}, nil)
	if result.Failed > 0 || result.Requests == 0 {
		t.Errorf("%d of %d quotes failed: %v", result.Failed, result.Requests, result.Failures)
	}
	return result
}

// await waits for something that can be seen from outside only.
func (n *node) await(t testing.TB, what string, there func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); !there(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("timeout while waiting for %s", what)
			return
		}
	}
}

// value returns the value of a metric, by its name and, if it has one, its label.
func (n *node) value(name string, label ...string) float64 {
	families, err := n.registry.Gather()
	if err != nil {
		return -1
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			if len(label) > 0 && metric.GetLabel()[0].GetValue() != label[0] {
				continue
			}
			if family.GetType().String() == "GAUGE" {
				return metric.GetGauge().GetValue()
			}
			return metric.GetCounter().GetValue()
		}
	}
	return 0
}
