package integration

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/dcaptest"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// No client notices a fault in one worker of four.
func TestFaults(t *testing.T) {
	n := start(t, 4, time.Millisecond)
	const ends, codes = "sgx_quote_helper_worker_ends_total", "sgx_quote_helper_quote3_errors_total"
	for _, c := range []struct {
		function, mode string
		metric, label  string // that count it
	}{
		{dcaptest.Quote, "segv", ends, "crash"},
		{dcaptest.Quote, "abort", ends, "crash"},
		{dcaptest.Quote, "exit", ends, "crash"},
		{dcaptest.Quote, "stray-thread-segv", ends, "crash"},
		{dcaptest.Quote, "hang", ends, "timeout"},
		{dcaptest.Quote, "lost", ends, "enclave_lost"},
		{dcaptest.Quote, "lost-once", ends, "enclave_lost"},
		{dcaptest.Quote, "error-e016", ends, "enclave_lost"},
		{dcaptest.Quote, "garbage", ends, "errors"},
		{dcaptest.Quote, "error-e001", codes, "SGX_QL_ERROR_UNEXPECTED"},
		{dcaptest.Quote, "error-e00f", codes, "SGX_QL_ATT_KEY_NOT_INITIALIZED"},
		{dcaptest.Quote, "error-e011", codes, "SGX_QL_NO_PLATFORM_CERT_DATA"},
		{dcaptest.Quote, "error-e012", codes, "SGX_QL_OUT_OF_EPC"},
		{dcaptest.Quote, "error-e019", codes, "SGX_QL_NETWORK_ERROR"},
		{dcaptest.Quote, "error-e040", codes, "SGX_QL_SERVICE_UNAVAILABLE"},
		{dcaptest.Quote, "error-e041", codes, "SGX_QL_NETWORK_FAILURE"},
		{dcaptest.Quote, "error-e042", codes, "SGX_QL_SERVICE_TIMEOUT"},
		{dcaptest.Quote, "error-e043", codes, "SGX_QL_ERROR_BUSY"},
		{dcaptest.Quote, "error-e063", codes, "SGX_QL_INTERNAL_SERVER_ERROR"},
		{dcaptest.Quote, "hang-500ms", "", ""},
		{dcaptest.Quote, "spin-100ms", "", ""},
		{dcaptest.Quote, "threads", "", ""},
		{dcaptest.Quote, "handler", "", ""},
		{dcaptest.Quote, "huge", "", ""},
		{dcaptest.Quote, "grow-100", ends, "memory"},
	} {
		t.Run(c.function+"."+c.mode, func(t *testing.T) {
			before := n.value(c.metric, c.label)
			var recovered time.Duration
			result := n.load(t, 16, func() {
				fault, err := n.faults.Inject(c.function, c.mode)
				if err != nil {
					t.Error(err)
					return
				}
				n.await(t, "the fault to be taken", fault.Taken)
				taken := time.Now()
				if c.metric != "" {
					n.await(t, c.label, func() bool { return n.value(c.metric, c.label) > before })
				}
				n.await(t, "four workers", func() bool { return n.value("sgx_quote_helper_workers") == 4 })
				recovered = time.Since(taken)
				time.Sleep(100 * time.Millisecond) // it must last
			})
			t.Logf("%d quotes, 4 workers again after %s, the longest quote took %s",
				result.Requests, recovered.Round(time.Millisecond), result.Latency.Max().Round(time.Millisecond))
		})
	}
}

// A fault while a worker starts concerns that worker only: it is started again, or goes
// on.
func TestFaultsAtStart(t *testing.T) {
	for _, c := range []struct{ function, mode string }{
		{dcaptest.Init, "segv"},
		{dcaptest.Init, "error-e016"},
		{dcaptest.Init, "hang-500ms"},
		{dcaptest.Size, "abort"},
		{dcaptest.Size, "error-e011"},
		{dcaptest.Size, "short-size"},
	} {
		t.Run(c.function+"."+c.mode, func(t *testing.T) {
			t.Parallel()
			n := start(t, 2, time.Millisecond)
			n.load(t, 16, func() {
				fault, err := n.faults.Inject(c.function, c.mode)
				if err != nil {
					t.Error(err)
					return
				}
				exit, err := n.faults.Inject(dcaptest.Quote, "exit")
				if err != nil {
					t.Error(err)
					return
				}
				n.await(t, "the exit of a worker", exit.Taken)
				n.await(t, "its end to be counted", func() bool { return n.value("sgx_quote_helper_worker_ends_total", "crash") == 1 })
				n.await(t, "the fault at start to be taken", fault.Taken)
				n.await(t, "two workers", func() bool { return n.value("sgx_quote_helper_workers") == 2 })
			})
		})
	}
}

// A quote that crashes every worker fails, having crashed three of them, and the next
// ones are made.
func TestPoison(t *testing.T) {
	const workers = 4
	n := start(t, workers, 0)
	fault, err := n.faults.Inject(dcaptest.Quote, "sticky-segv")
	if err != nil {
		t.Fatal(err)
	}
	failure, ok := errors.AsType[*aesm.Error](n.quote(t.Context()))
	if !ok || failure.Code != aesm.CodeBusy {
		t.Errorf("got %v, want %v", failure, aesm.CodeBusy)
	}
	if err := fault.Cancel(); err != nil {
		t.Fatal(err)
	}
	n.await(t, "four workers", func() bool {
		return n.value("sgx_quote_helper_workers") == workers && n.value("sgx_quote_helper_worker_ends_total", "crash") >= 3
	})
	if err := n.quote(t.Context()); err != nil {
		t.Error(err)
	}
	if ends := n.value("sgx_quote_helper_worker_ends_total", "crash"); ends != 3 {
		t.Errorf("%v workers crashed, want 3", ends)
	}
}

// All workers are killed at the same time, and every quote is made, though late.
func TestAllKilled(t *testing.T) {
	n := start(t, 4, time.Millisecond)
	n.load(t, 16, func() {
		for range 3 {
			calls, err := n.counters.Calls(dcaptest.Init)
			if err != nil {
				t.Error(err)
			}
			ended := n.value("sgx_quote_helper_worker_ends_total", "crash")
			killed := 0
			for pid := range calls {
				if syscall.Kill(pid, syscall.SIGKILL) == nil {
					killed++
				}
			}
			n.await(t, "their ends", func() bool {
				return n.value("sgx_quote_helper_worker_ends_total", "crash") >= ended+float64(killed)
			})
			n.await(t, "four workers", func() bool { return n.value("sgx_quote_helper_workers") == 4 })
		}
	})
}

// With kept certificates, quotes go on while the certificate service is unreachable, and
// a worker that ends is started again.
func TestWithoutNetwork(t *testing.T) {
	n := start(t, 2, 0)
	asked, err := n.counters.Count(dcaptest.Config)
	if err != nil {
		t.Fatal(err)
	}
	if asked != 1 {
		t.Errorf("two workers asked the provider %d times, want once", asked)
	}
	if _, err := n.faults.Inject(dcaptest.Config, "sticky-hang"); err != nil {
		t.Fatal(err)
	}
	n.load(t, 4, func() {
		fault, err := n.faults.Inject(dcaptest.Quote, "segv")
		if err != nil {
			t.Error(err)
			return
		}
		n.await(t, "the fault to be taken", fault.Taken)
		n.await(t, "the end of a worker", func() bool { return n.value("sgx_quote_helper_worker_ends_total", "crash") == 1 })
		n.await(t, "two workers", func() bool { return n.value("sgx_quote_helper_workers") == 2 })
	})
	if again, err := n.counters.Count(dcaptest.Config); err != nil || again != asked {
		t.Errorf("the provider was asked %d more times, %v", again-asked, err)
	}
}

// When files of the library are replaced, as by an update of its package, all workers are
// replaced soon, and no quote fails.
func TestUpdate(t *testing.T) {
	for name, update := range map[string]func(*node) error{
		"a library":         func(n *node) error { return n.library.Update(2) },
		"the QE":            func(n *node) error { return n.library.UpdateQE("node-1") },
		"the configuration": func(n *node) error { return rewrite(filepath.Join(n.library.Dir, "qcnl.conf")) },
		"the provider's library": func(n *node) error {
			// Its package is installed again.
			return rewrite(n.library.Path(dcaptest.Provider))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const workers = 4
			n := start(t, workers, time.Millisecond)
			var took time.Duration
			result := n.load(t, 16, func() {
				began := time.Now()
				if err := update(n); err != nil {
					t.Error(err)
					return
				}
				n.await(t, "all workers to be replaced", func() bool { return n.value("sgx_quote_helper_worker_ends_total", "update") == workers })
				took = time.Since(began)
				time.Sleep(100 * time.Millisecond)
			})
			t.Logf("all workers were replaced after %s, %d quotes", took.Round(time.Millisecond), result.Requests)
			if took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// After an update of the QE, a client that has the earlier target learns that it must
// fetch the target again.
func TestReportFromBeforeUpdate(t *testing.T) {
	n := start(t, 1, 0)
	client, key := n.client(), aesm.IntelQE3KeyID()
	ready, err := client.InitQuote(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	report, err := simulation.DefaultCPU().Report(sgx.ReportBody{}, ready.TargetInfo)
	if err != nil {
		t.Fatal(err)
	}
	quote := func(report sgx.Report) error {
		size, err := client.QuoteSize(t.Context(), key)
		if err == nil {
			_, err = client.GetQuote(t.Context(), key, report, size, nil)
		}
		return err
	}
	if err := quote(report); err != nil {
		t.Fatal(err)
	}
	invalid := report
	invalid.MAC[0]++
	if err := quote(invalid); !errors.Is(err, aesm.CodeInvalidReport) {
		t.Errorf("before the update: %v, want %v", err, aesm.CodeInvalidReport)
	}
	if err := n.library.UpdateQE("node-1"); err != nil {
		t.Fatal(err)
	}
	n.await(t, "the worker to be replaced", func() bool { return n.value("sgx_quote_helper_worker_ends_total", "update") == 1 })
	n.await(t, "the end of the worker with the earlier QE", func() bool { err = quote(report); return err != nil })
	if !errors.Is(err, aesm.CodeAttKeyNotInitialized) {
		t.Errorf("after the update: %v, want %v", err, aesm.CodeAttKeyNotInitialized)
	}
	if err := n.quote(t.Context()); err != nil {
		t.Errorf("a client that fetches the target again: %v", err)
	}
}

// rewrite replaces a file by one with the same content.
func rewrite(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return replace(path, data)
}

// replace replaces a file as package managers do.
func replace(path string, data []byte) error {
	if err := os.WriteFile(path+".new", data, 0o700); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Workers are not replaced by files that cannot make quotes.
func TestBadUpdate(t *testing.T) {
	n := start(t, 2, 0)
	n.load(t, 4, func() {
		if err := replace(n.library.Path(dcaptest.QE3Logic), []byte("no library")); err != nil {
			t.Error(err)
		}
		n.await(t, "an attempt to replace a worker", func() bool { return n.value("sgx_quote_helper_worker_ends_total", "start") > 0 })
		time.Sleep(100 * time.Millisecond)
	})
	if ends := n.value("sgx_quote_helper_worker_ends_total", "update"); ends != 0 {
		t.Errorf("%v workers were replaced", ends)
	}
}
