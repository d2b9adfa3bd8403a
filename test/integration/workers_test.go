package integration

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/confcom/confcom/internal/backend/dcap/dcaptest"
)

// Whatever one worker of four does, no client sees it.
func TestMisbehaviours(t *testing.T) {
	n := start(t, 4, time.Millisecond)
	const ends, codes = "sgx_quote_helper_worker_ends_total", "sgx_quote_helper_quote3_errors_total"
	for _, c := range []struct {
		function, what string
		metric, label  string // which counts it
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
		{dcaptest.Quote, "grow-300", ends, "memory"},
	} {
		t.Run(c.function+"."+c.what, func(t *testing.T) {
			before := n.value(c.metric, c.label)
			var recovered time.Duration
			result := n.load(t, 16, func() {
				order, err := n.commands.Order(c.function, c.what)
				if err != nil {
					t.Error(err)
					return
				}
				n.await(t, "its being taken", order.Taken)
				taken := time.Now()
				if c.metric != "" {
					n.await(t, c.label, func() bool { return n.value(c.metric, c.label) > before })
				}
				n.await(t, "four workers", func() bool { return n.value("sgx_quote_helper_workers") == 4 })
				recovered = time.Since(taken)
				time.Sleep(100 * time.Millisecond) // and so it stays
			})
			t.Logf("%d quotes, 4 workers again after %s, the longest quote took %s",
				result.Requests, recovered.Round(time.Millisecond), result.Latency.Max().Round(time.Millisecond))
		})
	}
}

// What the library does while a worker starts is the matter of that worker only: it
// is started again, or goes on.
func TestMisbehavioursAtStart(t *testing.T) {
	for _, c := range []struct{ function, what string }{
		{dcaptest.Init, "segv"},
		{dcaptest.Init, "error-e016"},
		{dcaptest.Init, "hang-500ms"},
		{dcaptest.Size, "abort"},
		{dcaptest.Size, "error-e011"},
		{dcaptest.Size, "short-size"},
	} {
		t.Run(c.function+"."+c.what, func(t *testing.T) {
			t.Parallel()
			n := start(t, 2, time.Millisecond)
			n.load(t, 16, func() {
				order, err := n.commands.Order(c.function, c.what)
				if err != nil {
					t.Error(err)
					return
				}
				end, err := n.commands.Order(dcaptest.Quote, "exit")
				if err != nil {
					t.Error(err)
					return
				}
				n.await(t, "the end of one", end.Taken)
				n.await(t, "its being seen", func() bool { return n.value("sgx_quote_helper_worker_ends_total", "crash") == 1 })
				n.await(t, "the other order's being taken", order.Taken)
				n.await(t, "two workers", func() bool { return n.value("sgx_quote_helper_workers") == 2 })
			})
		})
	}
}

// All processes are killed at once, and all quotes come, if late.
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

// With the certificates at hand, the way to the service may be down: quotes go on,
// and a worker that ends comes back.
func TestWithoutNetwork(t *testing.T) {
	n := start(t, 2, 0)
	asked, err := n.counters.Count(dcaptest.Config)
	if err != nil {
		t.Fatal(err)
	}
	if asked != 1 {
		t.Errorf("the provider was asked %d times by two workers", asked)
	}
	if _, err := n.commands.Order(dcaptest.Config, "sticky-hang"); err != nil {
		t.Fatal(err)
	}
	n.load(t, 4, func() {
		order, err := n.commands.Order(dcaptest.Quote, "segv")
		if err != nil {
			t.Error(err)
			return
		}
		n.await(t, "its being taken", order.Taken)
		n.await(t, "its end", func() bool { return n.value("sgx_quote_helper_worker_ends_total", "crash") == 1 })
		n.await(t, "two workers", func() bool { return n.value("sgx_quote_helper_workers") == 2 })
	})
	if again, err := n.counters.Count(dcaptest.Config); err != nil || again != asked {
		t.Errorf("the provider was asked %d times more, %v", again-asked, err)
	}
}

// Files of the library are replaced, as by an update of its package: all workers
// are new soon, and no quote is lost.
func TestUpdate(t *testing.T) {
	for name, update := range map[string]func(*node) error{
		"a library":         func(n *node) error { return n.library.Update(2) },
		"the QE":            func(n *node) error { return n.library.UpdateQE("node-1") },
		"the configuration": func(n *node) error { return rewrite(filepath.Join(n.library.Dir, "qcnl.conf")) },
		"the provider's library": func(n *node) error {
			// Its package is installed anew.
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
				n.await(t, "new workers", func() bool { return n.value("sgx_quote_helper_worker_ends_total", "update") == workers })
				took = time.Since(began)
				time.Sleep(100 * time.Millisecond)
			})
			t.Logf("all workers are new after %s, %d quotes", took.Round(time.Millisecond), result.Requests)
			if took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
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

// Files that make no quotes do not replace those that do.
func TestBadUpdate(t *testing.T) {
	n := start(t, 2, 0)
	n.load(t, 4, func() {
		if err := replace(n.library.Path(dcaptest.QE3Logic), []byte("no library")); err != nil {
			t.Error(err)
		}
		n.await(t, "an attempt", func() bool { return n.value("sgx_quote_helper_worker_ends_total", "start") > 0 })
		time.Sleep(100 * time.Millisecond)
	})
	if ends := n.value("sgx_quote_helper_worker_ends_total", "update"); ends != 0 {
		t.Errorf("%v workers were replaced", ends)
	}
}
