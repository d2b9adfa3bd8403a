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

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout is longer than anything here takes.
const testTimeout = 30 * time.Second

// built returns the directory with the worker program, which is built once.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dcap")
	if err != nil {
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
	backend  *dcap.Backend
	registry *prometheus.Registry
	socket   string
}

// start starts a helper until the test ends.
func start(t testing.TB, workers int, delay time.Duration) *node {
	t.Helper()
	n := &node{
		faults: dcaptest.Faults(t.TempDir()), counters: dcaptest.Counters(t.TempDir()),
		registry: prometheus.NewRegistry(), socket: filepath.Join(t.TempDir(), "s"),
	}
	var err error
	n.library, err = dcaptest.Build(t.TempDir(), "node-1")
	if errors.Is(err, dcaptest.ErrNoCompiler) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	programs, err := built()
	if err != nil {
		t.Fatal(err)
	}
	configuration := filepath.Join(n.library.Dir, "qcnl.conf")
	if err := os.WriteFile(configuration, []byte(`{"pccs_url": "https://pccs.example/sgx/certification/v4/"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(append(os.Environ(), n.library.Env()...), dcaptest.Delay(delay), "SGX_AESM_ADDR=1")
	if _, isBenchmark := t.(*testing.B); !isBenchmark { // looking for faults takes time
		env = append(env, n.faults.Env(), n.counters.Env())
	}
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c := config.Default()
	c.Workers = workers
	c.Program = filepath.Join(programs, "sgx-quote-worker")
	c.MemoryLimit = memoryLimit
	c.Library, c.Provider = n.library.Path(dcaptest.QuotingLibrary), n.library.Path(dcaptest.Provider)
	c.QCNL, c.Certificates = configuration, filepath.Join(t.TempDir(), "certificates")
	c.Env = env
	if n.backend, err = dcap.Start(c, log, dcap.NewMetrics(n.registry)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.backend.Close)

	helper := quotehelper.Helper{Backend: n.backend, Concurrency: workers, Socket: n.socket}
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
	n.await(t, "all workers", func() bool { return n.value("sgx_quote_helper_workers") == float64(workers) })
	for deadline := time.Now().Add(testTimeout); n.quote(t.Context()) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(n.quote(t.Context()))
		}
	}
	return n
}

// testWriter writes a log into that of a test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(line []byte) (int, error) {
	w.t.Logf("%s", line)
	return len(line), nil
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
