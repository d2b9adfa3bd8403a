package dcap

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/link"
	"github.com/confcom/confcom/internal/backend/dcap/ql/quote3"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// childMode has this test binary be a worker: one that behaves, or one that does
// not start.
const childMode = "DCAP_TEST_WORKER"

func TestMain(m *testing.M) {
	switch os.Getenv(childMode) {
	case "":
		goleak.VerifyTestMain(m)
	case "obedient":
		os.Exit(serve())
	default:
		fmt.Println(`{"level":"ERROR","msg":"cannot go on","error":"no library: install one"}`)
		os.Exit(1)
	}
}

// serve serves until the parent ends.
func serve() int {
	listener, err := link.Inherit()
	if err != nil {
		return 1
	}
	p, err := simulated.New("node-1")
	if err != nil {
		return 1
	}
	_ = listener.Serve(context.Background(), func(conn net.Conn) {
		_ = aesm.ServeConn(context.Background(), conn, obedient{p})
	})
	return 0
}

// What a report orders, in the second byte of its report data, from the worker
// whose process has the number that follows; any worker for 0.
const (
	orderHang = 1 + iota
	orderExit
	orderOtherQuote // one that is not of the report
)

// obedient is a worker that answers a quote with the code that the report asks
// for, in the first byte of its report data, and obeys orders.
type obedient struct{ *simulated.Backend }

func (o obedient) KeyIDs(context.Context) ([]aesm.KeyID, error) {
	return []aesm.KeyID{aesm.IntelQE3KeyID()}, nil
}

func (o obedient) InitQuote(ctx context.Context, _ aesm.KeyID) (aesm.Initialized, error) {
	return o.Backend.InitQuote(ctx)
}

func (o obedient) QuoteSize(ctx context.Context, _ aesm.KeyID) (int, error) {
	return o.Backend.QuoteSize(ctx)
}

func (o obedient) Quote(ctx context.Context, _ aesm.KeyID, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	data := report.Body.ReportData
	if data[0] != 0 {
		return aesm.Quoted{}, aesm.Code(0xe000 | uint32(data[0]))
	}
	if pid := int(binary.LittleEndian.Uint32(data[2:])); pid == 0 || pid == os.Getpid() {
		switch data[1] {
		case orderHang:
			<-make(chan int)
		case orderExit:
			os.Exit(3)
		case orderOtherQuote:
			report.Body.ISVSVN++
		}
	}
	return o.Backend.Quote(ctx, report, challenge)
}

// timeout is what a worker may take for a request.
const timeout = time.Second

// startPlatform starts a platform whose workers are this program.
func startPlatform(t *testing.T, workers int, mode string) *Backend {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := Start(Options{
		Workers: workers, Program: program, Env: []string{childMode + "=" + mode, "GORACE=atexit_sleep_ms=0"},
		Timeout: timeout, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	// The program has no flags of a worker, and does not look at those that it gets.
	t.Cleanup(p.Close)
	return p
}

// makeReport makes a report for the workers, with an order for the one whose
// process has this number, or for all; none where it is 0.
func (p *Backend) makeReport(t *testing.T, order byte, pid int) sgx.Report {
	t.Helper()
	ready, err := p.InitQuote(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var body sgx.ReportBody
	body.ReportData[1] = order
	binary.LittleEndian.PutUint32(body.ReportData[2:], uint32(pid))
	report, err := simulation.DefaultCPU().Report(body, ready.TargetInfo)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// awaitWorkers waits until there are so many, and returns their process numbers.
func awaitWorkers(t *testing.T, p *Backend, n int) []int {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if p.pool.size() == n {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d workers, want %d", p.pool.size(), n)
		}
	}
	p.pool.mu.Lock()
	defer p.pool.mu.Unlock()
	var pids []int
	for _, w := range p.pool.live {
		pids = append(pids, w.cmd.Process.Pid)
	}
	return pids
}

// A code that every worker answers reaches the client as AESM has it, after as many
// attempts as make sense, and whole in what is logged.
func TestCodes(t *testing.T) {
	const workers = 3
	p := startPlatform(t, workers, "obedient")
	report := p.makeReport(t, 0, 0)
	awaitWorkers(t, p, workers)
	for _, c := range []struct {
		code     quote3.Error
		aesm     aesm.Code
		layer    quoting.Layer
		attempts float64
	}{
		{quote3.NetworkError, aesm.CodeNetwork, quoting.LayerNetwork, workers},
		{0xe012, aesm.CodeOutOfEPC, quoting.LayerBackend, workers},
		{quote3.InvalidReport, aesm.CodeInvalidReport, quoting.LayerClient, 1},
		{0xe013, aesm.CodeErrorReport, quoting.LayerClient, 1},
		{quote3.InvalidPrivilege, aesm.CodeSGXDeviceNotAvailable, quoting.LayerBackend, 1},
		{0xe047, aesm.CodeUnexpected, quoting.LayerProvider, 1},
		{quote3.NoPlatformCertData, aesm.CodeNoPlatformCertData, quoting.LayerProvider, 2},             // and again once the key was made ready
		{quote3.AttKeyNotInitialized, aesm.CodeAttKeyNotInitialized, quoting.LayerClient, 2 * workers}, // by every worker
	} {
		before := testutil.ToFloat64(p.metrics.errors.WithLabelValues(c.code.Name()))
		asking := report
		asking.Body.ReportData[0] = byte(c.code)
		_, err := p.Quote(t.Context(), asking, nil)
		f, ok := errors.AsType[*quoting.Failure](err)
		if !ok || f.Code != c.aesm || f.Layer != c.layer || !strings.Contains(f.Error(), c.code.Error()) {
			t.Errorf("%v: got %v, want %v of the layer %s", c.code, err, c.aesm, c.layer)
		}
		if check := c.code.Check(); ok && check != "" && !strings.Contains(f.Advice, "--check="+check) {
			t.Errorf("%v: the advice is %q", c.code, f.Advice)
		}
		if n := testutil.ToFloat64(p.metrics.errors.WithLabelValues(c.code.Name())) - before; n != c.attempts {
			t.Errorf("%v: %v attempts, want %v", c.code, n, c.attempts)
		}
	}
	if quoted, err := p.Quote(t.Context(), report, nil); err != nil || !isOf(quoted.Quote, report) {
		t.Errorf("after all that: %v", err)
	}
}

// What one worker does, another one makes good, and the one is replaced.
func TestMisbehaviour(t *testing.T) {
	const workers = 3
	for _, c := range []struct {
		name  string
		order byte
		why   end
	}{
		{"hangs", orderHang, endHang},
		{"exits", orderExit, endCrash},
		{"quotes another report", orderOtherQuote, endErrors},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := startPlatform(t, workers, "obedient")
			pids := awaitWorkers(t, p, workers)
			for i := range workers { // whoever is the next one
				asking := p.makeReport(t, c.order, pids[i])
				if quoted, err := p.Quote(t.Context(), asking, nil); err != nil || !isOf(quoted.Quote, asking) {
					t.Fatal(err)
				}
			}
			if testutil.ToFloat64(p.metrics.retries) == 0 {
				t.Error("no worker was asked that misbehaves")
			}
			awaitWorkers(t, p, workers)
			if n := testutil.ToFloat64(p.metrics.ends.WithLabelValues(string(c.why))); n != testutil.ToFloat64(p.metrics.retries) {
				t.Errorf("%v workers have ended so", n)
			}
		})
	}
}

// A quote that every worker fails to make is lost, and no other: they are replaced.
func TestEveryWorkerFails(t *testing.T) {
	const workers = 2
	p := startPlatform(t, workers, "obedient")
	report := p.makeReport(t, 0, 0)
	awaitWorkers(t, p, workers)
	for _, c := range []struct {
		order byte
		why   end
	}{{orderExit, endCrash}, {orderHang, endHang}} {
		before := testutil.ToFloat64(p.metrics.ends.WithLabelValues(string(c.why)))
		_, err := p.Quote(t.Context(), p.makeReport(t, c.order, 0), nil)
		f, ok := errors.AsType[*quoting.Failure](err)
		if !ok || f.Code != aesm.CodeBusy || f.Layer != quoting.LayerWorker || !strings.Contains(f.Error(), "every worker that was asked has failed") {
			t.Errorf("%s: got %v", c.why, err)
		}
		if quoted, err := p.Quote(t.Context(), report, nil); err != nil || !isOf(quoted.Quote, report) {
			t.Errorf("%s: the next quote: %v", c.why, err)
		}
		awaitWorkers(t, p, workers)
		if n := testutil.ToFloat64(p.metrics.ends.WithLabelValues(string(c.why))) - before; n != workers {
			t.Errorf("%v workers have ended with %s, want %d", n, c.why, workers)
		}
	}
}

// Who has no more time leaves, and nobody else gets his answer.
func TestImpatience(t *testing.T) {
	p := startPlatform(t, 1, "obedient")
	report := p.makeReport(t, 0, 0)
	ctx, cancel := context.WithTimeout(t.Context(), timeout/20)
	defer cancel()
	_, err := p.Quote(ctx, p.makeReport(t, orderHang, 0), nil)
	if f, ok := errors.AsType[*quoting.Failure](err); !ok || f.Code != aesm.CodeBusy {
		t.Errorf("got %v", err)
	}
	if quoted, err := p.Quote(t.Context(), report, nil); err != nil || !isOf(quoted.Quote, report) {
		t.Errorf("the next quote: %v", err)
	}
}

// A worker that is gone before it is asked costs no attempt.
func TestAllKilledAtRest(t *testing.T) {
	const workers = 3
	p := startPlatform(t, workers, "obedient")
	report := p.makeReport(t, 0, 0)
	for range 3 {
		for _, pid := range awaitWorkers(t, p, workers) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			awaitDead(t, pid)
		}
		if quoted, err := p.Quote(t.Context(), report, nil); err != nil || !isOf(quoted.Quote, report) {
			t.Error(err)
		}
	}
}

// awaitDead waits until a process can answer nothing any more.
func awaitDead(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
	}
	t.Fatalf("process %d lives", pid)
}

// Replacements leave nothing behind. CONFCOM_REPLACEMENTS is how many, for a run by
// hand.
func TestReplacements(t *testing.T) {
	n := 20
	if text := os.Getenv("CONFCOM_REPLACEMENTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	p := startPlatform(t, 0, "obedient")
	s := &slot{Backend: p, log: p.Log}
	w, err := s.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.enter(w)
	report := p.makeReport(t, 0, 0)
	count := func() (goroutines, files int, memory uint64) {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), len(open), m.HeapAlloc
	}
	replace := func() {
		if _, err := p.Quote(t.Context(), report, nil); err != nil {
			t.Fatal(err)
		}
		old := w
		if w = s.renew(t.Context(), old, endUpdate); w == nil {
			t.Fatal("it was not replaced")
		}
		<-old.ended
	}
	replace()
	goroutines, files, memory := count()
	for range n {
		replace()
	}
	g, f, m := count()
	t.Logf("after %d replacements: %d goroutines (before: %d), %d files (%d), %d KiB of heap (%d)", n, g, goroutines, f, files, m>>10, memory>>10)
	// One is about to end, perhaps.
	if g > goroutines+2 || f > files+2 || m > memory+1<<20 {
		t.Error("something is left behind")
	}
	s.pool.remove(w)
	w.kill(endStopped)
	<-w.ended
}

// Where no worker starts, that is said at once, in the words of the worker.
func TestNoWorker(t *testing.T) {
	p := startPlatform(t, 2, "missing")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := p.InitQuote(ctx)
	f, ok := errors.AsType[*quoting.Failure](err)
	if !ok || f.Layer != quoting.LayerWorker || f.Code != aesm.CodeServiceUnavailable || !strings.Contains(f.Error(), "no library: install one") {
		t.Errorf("got %v", err)
	}
	if ctx.Err() != nil {
		t.Error("it was not said at once")
	}
}
