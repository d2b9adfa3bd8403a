package dcap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/internal/quoting"
)

// An error that every worker returns reaches the client as its AESM code, after as
// many attempts as make sense, and by its own name in the failure.
func TestErrors(t *testing.T) {
	const workers = 3
	b := startBackend(t, workers, "stub")
	report := b.makeReport(t, 0, 0)
	awaitWorkers(t, b, workers)
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
		{0xe044, aesm.CodeNetwork, quoting.LayerNetwork, workers},
		{0xe047, aesm.CodeNoPlatformCertData, quoting.LayerProvider, 1},
		{0xe065, aesm.CodeNetwork, quoting.LayerNetwork, 1},
		{0xe067, aesm.CodeServiceUnavailable, quoting.LayerProvider, 1},
		{quote3.NoPlatformCertData, aesm.CodeNoPlatformCertData, quoting.LayerProvider, 2},             // again after the key was initialized
		{quote3.AttKeyNotInitialized, aesm.CodeAttKeyNotInitialized, quoting.LayerClient, 2 * workers}, // likewise, by every worker
	} {
		before := testutil.ToFloat64(b.metrics.errors.WithLabelValues(c.code.Name()))
		failing := report
		failing.Body.ReportData[0] = byte(c.code)
		_, err := b.Quote(t.Context(), failing, nil)
		f, ok := errors.AsType[*quoting.Failure](err)
		if !ok || f.Code != c.aesm || f.Layer != c.layer || !strings.Contains(f.Error(), c.code.Error()) {
			t.Errorf("%v: got %v, want %v of the layer %s", c.code, err, c.aesm, c.layer)
		}
		if check := c.code.Check(); ok && check != "" && !strings.Contains(f.Advice, "--check="+check) {
			t.Errorf("%v: the advice is %q", c.code, f.Advice)
		}
		if n := testutil.ToFloat64(b.metrics.errors.WithLabelValues(c.code.Name())) - before; n != c.attempts {
			t.Errorf("%v: %v attempts, want %v", c.code, n, c.attempts)
		}
	}
	b.expectQuote(t, report)
}

// A worker that has one unclassified error after the other is replaced.
func TestConsecutiveFailures(t *testing.T) {
	b := startBackend(t, 1, "stub")
	report := b.makeReport(t, 0, 0)
	failing := report
	failing.Body.ReportData[0] = byte(quote3.Unexpected & 0xff)
	fail := func(times int) {
		t.Helper()
		for range times {
			if _, err := b.Quote(t.Context(), failing, nil); err == nil {
				t.Error("no error")
			}
		}
	}
	fail(maxFailures - 1)
	b.expectQuote(t, report) // after which they count anew
	fail(maxFailures - 1)
	if n := b.ended(reasonErrors); n != 0 {
		t.Fatalf("%v workers ended, want 0", n)
	}
	fail(1)
	await(t, "the end of the worker", func() bool { return b.ended(reasonErrors) == 1 })
	b.expectQuote(t, report)
}

// Another worker makes the quote that one fails to make, and the one is replaced.
func TestFaults(t *testing.T) {
	const workers = 3
	for _, c := range []struct {
		name  string
		fault byte
		why   reason
	}{
		{"hangs", faultHang, reasonTimeout},
		{"exits", faultExit, reasonCrash},
		{"is killed", faultKill, reasonCrash},
		{"quotes another report", faultOtherReport, reasonErrors},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := startBackend(t, workers, "stub")
			awaitWorkers(t, b, workers)
			for _, pid := range b.pids(t) { // one of them is the next
				b.expectQuote(t, b.makeReport(t, c.fault, pid))
			}
			retries := testutil.ToFloat64(b.metrics.retries)
			if retries == 0 {
				t.Error("no fault was injected")
			}
			await(t, "the ends of as many workers", func() bool { return b.ended(c.why) == retries })
			awaitWorkers(t, b, workers)
		})
	}
}

// A quote that every worker fails to make fails, and no other: the workers are
// replaced. A report that kills every worker kills three at most, and two in a row if
// there is only one.
func TestEveryWorkerFails(t *testing.T) {
	for _, c := range []struct {
		name    string
		workers int
		fault   byte
		why     reason
		ends    float64
		want    string
	}{
		{"hang", 2, faultHang, reasonTimeout, 2, "all workers that were asked have failed"},
		{"exit, one worker", 1, faultExit, reasonCrash, 2, "the workers that were asked have died"},
		{"exit, more workers", 5, faultExit, reasonCrash, maxCrashes, "the workers that were asked have died"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := startBackend(t, c.workers, "stub")
			report := b.makeReport(t, 0, 0)
			awaitWorkers(t, b, c.workers)
			_, err := b.Quote(t.Context(), b.makeReport(t, c.fault, 0), nil)
			f, ok := errors.AsType[*quoting.Failure](err)
			if !ok || f.Code != aesm.CodeBusy || f.Layer != quoting.LayerWorker || !strings.Contains(f.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			b.expectQuote(t, report)
			awaitWorkers(t, b, c.workers)
			await(t, "the ends", func() bool { return b.ended(c.why) >= c.ends })
			if n := b.ended(c.why); n != c.ends {
				t.Errorf("%v workers ended with %s, want %v", n, c.why, c.ends)
			}
		})
	}
}

// A request that is given up returns at once, and nobody else gets its reply.
func TestGivenUp(t *testing.T) {
	b := startBackend(t, 1, "stub")
	report := b.makeReport(t, 0, 0)
	ctx, cancel := context.WithTimeout(t.Context(), timeout/20)
	defer cancel()
	_, err := b.Quote(ctx, b.makeReport(t, faultHang, 0), nil)
	if f, ok := errors.AsType[*quoting.Failure](err); !ok || f.Code != aesm.CodeBusy {
		t.Errorf("got %v", err)
	}
	b.expectQuote(t, report)
}

// A request ends with its deadline even if all workers die, and until then no death
// makes it fail.
func TestDeadline(t *testing.T) {
	c := testConfig(t, 1, "stub")
	c.Timeout = time.Minute // only deaths count here
	b, err := Start(c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	report := b.makeReport(t, 0, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var killing sync.WaitGroup
	defer killing.Wait()
	killing.Go(func() {
		for {
			l, err := b.pool.Take(ctx, func(candidate) bool { return true })
			if err != nil {
				return
			}
			// A worker that is stopped reads no request.
			pid := l.Session().process.pid()
			_ = syscall.Kill(pid, syscall.SIGSTOP)
			_ = unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED, nil)
			l.Return() // to the request that waits for it
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	for ctx.Err() == nil {
		_, err := b.Quote(ctx, report, nil)
		if _, ok := errors.AsType[*quoting.Failure](err); err != nil && (!ok || ctx.Err() == nil) {
			t.Errorf("before its deadline: %v", err)
		}
	}
}

// The death of a worker that has not read the request costs no attempt, however many
// workers die.
func TestAllKilledAtRest(t *testing.T) {
	const workers = 3
	for _, state := range []string{"dying", "dead"} {
		t.Run(state, func(t *testing.T) {
			b := startBackend(t, workers, "stub")
			report := b.makeReport(t, 0, 0)
			for range 3 {
				awaitWorkers(t, b, workers)
				for _, pid := range b.pids(t) {
					if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
					if state == "dead" {
						await(t, "the death of a process", func() bool { return isDead(pid) })
					}
				}
				b.expectQuote(t, report)
			}
		})
	}
}

// isDead reports whether the main thread of a process is dead.
func isDead(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(stat, []byte(") Z "))
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
	c := testConfig(t, 1, "stub")
	c.MemoryLimit = 1 // so that a worker is replaced at each poll
	b, err := start(c, slog.New(slog.DiscardHandler), NewMetrics(prometheus.NewRegistry()), 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	report := b.makeReport(t, 0, 0)
	// count returns the least of many samples, as replacements go on meanwhile.
	count := func() (goroutines, files int, memory uint64) {
		goroutines, files, memory = math.MaxInt, math.MaxInt, math.MaxUint64
		for range 20 {
			b.expectQuote(t, report)
			open, err := os.ReadDir("/proc/self/fd")
			if err != nil {
				t.Fatal(err)
			}
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			goroutines, files, memory = min(goroutines, runtime.NumGoroutine()), min(files, len(open)), min(memory, m.HeapAlloc)
		}
		return goroutines, files, memory
	}
	replace := func(until int) {
		t.Helper()
		for b.ended(reasonMemory) < float64(until) {
			b.expectQuote(t, report)
		}
	}
	replace(1)
	goroutines, files, memory := count()
	replace(1 + n)
	g, f, m := count()
	t.Logf("after %d replacements: %d goroutines (before: %d), %d files (%d), %d KiB of heap (%d)", n, g, goroutines, f, files, m>>10, memory>>10)
	// A few of each come and go; what replacements leave behind is there n times.
	if g > goroutines+5 || f > files+5 || m > memory+1<<20 {
		t.Error("replacements leave something behind")
	}
	if b.ended(reasonCrash) != 0 {
		t.Error("a worker that was replaced did not finish")
	}
}

// If no worker starts, requests fail at once, with the error of the worker.
func TestNoWorker(t *testing.T) {
	b := startBackend(t, 2, "missing")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := b.InitQuote(ctx)
	f, ok := errors.AsType[*quoting.Failure](err)
	if !ok || f.Layer != quoting.LayerWorker || f.Code != aesm.CodeServiceUnavailable || !strings.Contains(f.Error(), "no library: install one") {
		t.Errorf("got %v", err)
	}
	if ctx.Err() != nil {
		t.Error("the request waited for its deadline")
	}
}

// A configuration that cannot work is an error at once.
func TestInvalidConfig(t *testing.T) {
	c := testConfig(t, 0, "stub")
	_, err := Start(c, slog.New(slog.DiscardHandler), nil)
	if _, ok := errors.AsType[*config.InvalidError](err); !ok {
		t.Errorf("got %v", err)
	}
}

// The directory of the certificates is temporary unless it is configured.
func TestTemporaryCertificates(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	c := testConfig(t, 1, "stub")
	c.Certificates = ""
	b, err := Start(c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := b.config.Certificates
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Errorf("no directory while the backend runs: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, providerCache)); err != nil || !info.IsDir() {
		t.Errorf("no directory for the provider's cache: %v", err)
	}
	b.Close()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory outlives the backend: %v", err)
	}
}

// The workers' environment has what the provider reads, and nothing that makes the
// library ask an AESM daemon.
func TestEnvironment(t *testing.T) {
	c := config.Config{QCNL: "/qcnl", Certificates: "/certificates"}
	for _, test := range []struct{ given, want []string }{
		{[]string{"A=1", "SGX_AESM_ADDR=1"}, []string{"A=1", "QCNL_CONF_PATH=/qcnl", "AZDCAP_CACHE=/certificates"}},
		{[]string{"AZDCAP_CACHE="}, []string{"AZDCAP_CACHE=", "QCNL_CONF_PATH=/qcnl", "AZDCAP_CACHE=/certificates"}},
		{[]string{"AZDCAP_CACHE=/cache"}, []string{"AZDCAP_CACHE=/cache", "QCNL_CONF_PATH=/qcnl"}},
	} {
		c.Env = test.given
		if got := environment(c); !slices.Equal(got, test.want) {
			t.Errorf("%q: got %q, want %q", test.given, got, test.want)
		}
	}
}
