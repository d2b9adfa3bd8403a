package soak

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/quotehelper"
)

// patience bounds every wait for something that should happen soon.
const patience = 30 * time.Second

// helperMain is the main function of the quote helper under test. Each line of its
// standard input sets the failure mode of the failing backend.
func helperMain() int {
	return daemon.Main("sgx-quote-helper", "A quote helper under test.", func(flags *pflag.FlagSet) daemon.Run {
		var helper quotehelper.Helper
		flags.StringVar(&helper.Socket, "socket", "", "")
		flags.BoolVar(&helper.TakeOver, "takeover", false, "")
		flags.BoolVar(&helper.StandBy, "stand-by", false, "")
		flags.StringVar(&helper.KubeletCgroup, "kubelet-cgroup", "", "")
		flags.IntVar(&helper.Concurrency, "slots", 2, "")
		backend := flags.String("platform", backendSimulated, "")
		mode := flags.String("failure-mode", string(modeNone), "the first failure mode of the failing backend")
		return func(ctx context.Context, env *daemon.Environment) (err error) {
			var f *failing
			if helper.Backend, f, err = newBackend(*backend); err != nil {
				return err
			}
			if f != nil {
				f.setMode(failureMode(*mode))
			}
			go readModes(f)
			return helper.Run(ctx, env)
		}
	})
}

// readModes reads failure modes until the process that started this one has ended.
func readModes(f *failing) {
	answers := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		_ = answers.Encode(f.setMode(failureMode(in.Text()))) // the reader times out
	}
	os.Exit(1)
}

// helper is a quote helper in a process of its own.
type helper struct {
	*process
	socket  string
	serving chan struct{} // closed once it serves
	waiting chan struct{} // closed once it stands by
	modeSet chan string   // the answers to new failure modes

	mu      sync.Mutex
	address string   // of its metrics
	recent  []string // the last lines of its log, except about quotes and hostile clients
	errors  []string // the lines at ERROR
}

// startHelper starts a helper. It reads the helper's log from a pipe, as a container
// runtime does, and keeps only notable lines.
func startHelper(t testing.TB, socket, backend string, concurrency int, more ...string) *helper {
	t.Helper()
	h := &helper{socket: socket, serving: make(chan struct{}), waiting: make(chan struct{}), modeSet: make(chan string, 1)}
	args := append([]string{
		"--socket=" + socket, "--platform=" + backend, "--slots=" + strconv.Itoa(concurrency),
		"--http-address=127.0.0.1:0",
	}, more...)
	h.process = start(t, roleHelper,
		&lines{each: func(line []byte) { h.modeSet <- string(line) }},
		&lines{each: h.logged}, args...)
	t.Cleanup(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if t.Failed() {
			t.Logf("end of the log of helper %d:\n%s", h.Process.Pid, strings.Join(h.recent, "\n"))
		}
	})
	return h
}

// serveHelper starts a helper and waits until it serves.
func serveHelper(t testing.TB, socket, backend string, concurrency int, more ...string) *helper {
	t.Helper()
	h := startHelper(t, socket, backend, concurrency, more...)
	select {
	case <-h.serving:
	case <-h.ended:
		t.Fatalf("the helper ended before it served: %v", h.err)
	case <-time.After(patience):
		t.Fatalf("the helper did not serve within %s", patience)
	}
	return h
}

func (h *helper) logged(line []byte) {
	if bytes.Contains(line, []byte(`"msg":"quote"`)) ||
		bytes.Contains(line, []byte(`"msg":"dropped"`)) && !bytes.Contains(line, []byte(uid(goodPod))) {
		return
	}
	var entry struct{ Level, Msg, Address string }
	_ = json.Unmarshal(line, &entry) // a stack trace is not JSON; keep it as it is
	h.mu.Lock()
	defer h.mu.Unlock()
	const maxRecent = 20
	if h.recent = append(h.recent, string(line)); len(h.recent) > maxRecent {
		h.recent = h.recent[1:]
	}
	if entry.Level == "ERROR" {
		h.errors = append(h.errors, string(line))
	}
	switch entry.Msg {
	case "another daemon has taken over the socket":
		close(h.waiting)
	case "serving health and metrics":
		h.address = entry.Address
	case "serving quotes":
		select {
		case <-h.serving: // not for the first time
		default:
			close(h.serving)
		}
	}
}

// bugs returns the lines of the log at ERROR.
func (h *helper) bugs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.errors
}

// setMode sets the failure mode of the failing backend, and returns the number of panics
// so far. The mode applies when setMode returns.
func (h *helper) setMode(t testing.TB, mode failureMode) (p panics) {
	t.Helper()
	if _, err := fmt.Fprintln(h.stdin, mode); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-h.modeSet:
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
	case <-h.ended:
		t.Fatalf("the helper ended: %v", h.err)
	case <-time.After(patience):
		t.Fatalf("failure mode %s was not set within %s", mode, patience)
	}
	return p
}

// terminate stops the helper and checks that it exits without an error.
func (h *helper) terminate(t testing.TB) {
	t.Helper()
	_ = h.Process.Signal(syscall.SIGTERM) // it may have ended
	if err := h.wait(patience); err != nil {
		t.Errorf("the helper after SIGTERM: %v", err)
	}
}

// metrics are the metrics of a daemon, by name and labels as in its output.
type metrics map[string]float64

// metrics fetches the metrics of the helper over a connection that is not kept alive.
func (h *helper) metrics() (metrics, error) {
	h.mu.Lock()
	address := h.address
	h.mu.Unlock()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	m := make(metrics)
	for line := range strings.Lines(string(text)) {
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %q: %w", line, err)
		}
		m[line[:at]] = value
	}
	return m, nil
}

func (h *helper) mustMetrics(t testing.TB) metrics {
	t.Helper()
	m, err := h.metrics()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The metrics that the tests use.
const (
	metricConnections = "sgx_quote_helper_connections"
	metricPanics      = "sgx_quote_helper_panics_total"
	metricInFlight    = "sgx_quote_helper_requests_in_flight"
	metricWaiting     = "sgx_quote_helper_requests_waiting"
	metricGoroutines  = "go_goroutines"
	metricFiles       = "process_open_fds"
	metricMemory      = "process_resident_memory_bytes"
	metricServiceSum  = "sgx_quote_helper_service_seconds_sum"
	metricServed      = "sgx_quote_helper_service_seconds_count"
)

// await polls the metrics until they are as wanted, but no longer than d. It returns the
// last ones.
func (h *helper) await(d time.Duration, wanted func(metrics) bool) (m metrics, ok bool) {
	deadline := time.Now().Add(d)
	for {
		m, err := h.metrics()
		if err == nil && wanted(m) {
			return m, true
		}
		if time.Now().After(deadline) {
			return m, false
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// idle waits until a helper that stands by has finished its connections. Connections that
// are not accepted yet are not counted, so the helper must be idle for a while.
func (h *helper) idle() bool {
	select {
	case <-h.waiting:
	case <-time.After(patience):
		return false
	}
	var since time.Time
	_, ok := h.await(patience, func(m metrics) bool {
		if m[metricConnections] > 0 {
			since = time.Time{}
		} else if since.IsZero() {
			since = time.Now()
		}
		return !since.IsZero() && time.Since(since) > time.Second
	})
	return ok
}
