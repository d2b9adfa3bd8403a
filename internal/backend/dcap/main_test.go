package dcap

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/dcap/link"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// workerMode makes this test binary a worker: "stub", or one that does not start.
const workerMode = "DCAP_TEST_WORKER"

func TestMain(m *testing.M) {
	switch os.Getenv(workerMode) {
	case "":
		goleak.VerifyTestMain(m)
	case "stub":
		os.Exit(serve())
	case "late log":
		os.Exit(serveUninitialized())
	case "child":
		os.Exit(leaveChild())
	default:
		fmt.Println(`{"level":"ERROR","msg":"exiting on error","error":"no library: install one"}`)
		os.Exit(1)
	}
}

// serve serves until the parent ends.
func serve() int {
	listener, err := link.Inherit()
	if err != nil {
		return 1
	}
	b, err := simulated.New("node-1")
	if err != nil {
		return 1
	}
	_ = listener.Serve(context.Background(), stub{b}, slog.New(slog.DiscardHandler))
	return 0
}

// serveUninitialized is a worker whose key cannot be initialized, and which logs the cause
// when it ends.
func serveUninitialized() int {
	listener, err := link.Inherit()
	if err != nil {
		return 1
	}
	_ = listener.Serve(context.Background(), uninitialized{}, slog.New(slog.DiscardHandler))
	fmt.Println(`{"level":"WARN","msg":"the cause"}`)
	return 0
}

type uninitialized struct{ stub }

func (uninitialized) Initialize() (link.Identity, error) {
	return link.Identity{}, quote3.EnclaveLoadError
}

// leaveChild is a worker that dies and leaves a child with its output, whose number is its
// last line.
func leaveChild() int {
	child := exec.Command("/bin/sh", "-c", "exec sleep 3600")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		return 1
	}
	fmt.Println(child.Process.Pid)
	return 3
}

// The faults that a report injects, by the second byte of its report data, into the
// worker whose process has the number that follows, or into any worker for 0.
const (
	faultHang = 1 + iota
	faultExit
	faultOtherReport // a quote of another report
	faultKill        // as by the out-of-memory killer, with the request
)

// stub is a worker that answers a quote with the error whose last byte is the first
// byte of its report data, and injects faults.
type stub struct{ *simulated.Backend }

func (s stub) Initialize() (link.Identity, error) {
	initialized, err := s.InitQuote(context.Background())
	if err != nil {
		return link.Identity{}, err
	}
	size, err := s.QuoteSize(context.Background())
	return link.Identity{Initialized: initialized, QuoteSize: size}, err
}

func (s stub) Quote(report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	data := report.Body.ReportData
	if data[0] != 0 {
		return aesm.Quoted{}, quote3.Error(0xe000 | uint32(data[0]))
	}
	if pid := int(binary.LittleEndian.Uint32(data[2:])); pid == 0 || pid == os.Getpid() {
		switch data[1] {
		case faultHang:
			<-make(chan int)
		case faultExit:
			os.Exit(3)
		case faultOtherReport:
			report.Body.ISVSVN++
		case faultKill:
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			<-make(chan int)
		}
	}
	return s.Backend.Quote(context.Background(), report, challenge)
}

// timeout is how long a worker may take for a request.
const timeout = time.Second

// testConfig returns a configuration whose workers are this program.
func testConfig(t *testing.T, workers int, mode string) config.Config {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Workers, c.Program, c.Timeout, c.MemoryLimit = workers, program, timeout, 0
	c.QCNL, c.Certificates = "", filepath.Join(t.TempDir(), "certificates")
	c.Env = append(os.Environ(), workerMode+"="+mode, "GORACE=atexit_sleep_ms=0")
	return c
}

// startBackend starts a backend until the test ends.
func startBackend(t *testing.T, workers int, mode string) *Backend {
	t.Helper()
	b, err := Start(testConfig(t, workers, mode), slog.New(slog.DiscardHandler), NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// pids returns the process numbers of the workers, which must be idle.
func (b *Backend) pids(t *testing.T) (pids []int) {
	t.Helper()
	var leases []*lease
	for range b.config.Workers {
		l, err := b.pool.Take(t.Context(), func(candidate) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		leases = append(leases, l)
		pids = append(pids, l.Session().process.pid())
	}
	for _, l := range leases {
		l.Return()
	}
	return pids
}

// makeReport makes a report for the workers that injects a fault into the one with
// this process number, or into all for 0; none if fault is 0.
func (b *Backend) makeReport(t *testing.T, fault byte, pid int) sgx.Report {
	t.Helper()
	initialized, err := b.InitQuote(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var body sgx.ReportBody
	body.ReportData[1] = fault
	binary.LittleEndian.PutUint32(body.ReportData[2:], uint32(pid))
	report, err := simulation.DefaultCPU().Report(body, initialized.TargetInfo)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// expectQuote checks that a report is quoted.
func (b *Backend) expectQuote(t *testing.T, report sgx.Report) {
	t.Helper()
	quoted, err := b.Quote(t.Context(), report, nil)
	if err == nil {
		_, err = checkQuote(quoted.Quote, report)
	}
	if err != nil {
		t.Error(err)
	}
}

// ended returns how many workers have ended for a reason.
func (b *Backend) ended(why reason) float64 {
	return testutil.ToFloat64(b.metrics.ends.WithLabelValues(string(why)))
}

// awaitWorkers waits until there are n workers.
func awaitWorkers(t *testing.T, b *Backend, n int) {
	t.Helper()
	await(t, fmt.Sprintf("%d workers", n), func() bool { return b.pool.Len() == n })
}

// await waits for something that can be seen from outside only.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout while waiting for %s", what)
		}
	}
}
