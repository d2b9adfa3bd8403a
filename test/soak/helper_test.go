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

// patience is how long the test waits for what should happen soon.
const patience = 30 * time.Second

// helperMain is the quote helper's main function, with a stand-in for a platform.
// Each line of its standard input is a mood for the moody one.
func helperMain() int {
	return daemon.Main("sgx-quote-helper", "A quote helper under test.", func(flags *pflag.FlagSet) daemon.Run {
		var helper quotehelper.Helper
		flags.StringVar(&helper.Socket, "socket", "", "")
		flags.BoolVar(&helper.TakeOver, "takeover", false, "")
		flags.BoolVar(&helper.StandBy, "stand-by", false, "")
		flags.IntVar(&helper.Concurrency, "slots", 2, "")
		platform := flags.String("platform", platformSimulated, "")
		first := flags.String("mood", string(moodGood), "of the moody platform, at the start")
		return func(ctx context.Context, env *daemon.Environment) (err error) {
			var moody *moody
			if helper.Backend, moody, err = newPlatform(*platform); err != nil {
				return err
			}
			if moody != nil {
				moody.become(mood(*first))
			}
			go obey(moody)
			return helper.Run(ctx, env)
		}
	})
}

// obey reads moods until the process that started this one is gone.
func obey(m *moody) {
	answers := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		_ = answers.Encode(m.become(mood(in.Text()))) // who waits for it will complain
	}
	os.Exit(1)
}

// helper is a quote helper in a process of its own.
type helper struct {
	*process
	socket  string
	serving chan struct{} // closed once it serves
	waiting chan struct{} // closed once it stands by
	obeyed  chan string   // what it says to a mood

	mu      sync.Mutex
	address string   // where its metrics are
	recent  []string // the last lines of its log, without those about quotes and hostile clients
	errors  []string // those at ERROR
}

// startHelper starts a helper. Its log is read from a pipe and, but for what is
// remarkable, thrown away, as a container runtime reads it.
func startHelper(t testing.TB, socket, platform string, slots int, more ...string) *helper {
	t.Helper()
	h := &helper{socket: socket, serving: make(chan struct{}), waiting: make(chan struct{}), obeyed: make(chan string, 1)}
	args := append([]string{
		"--socket=" + socket, "--platform=" + platform, "--slots=" + strconv.Itoa(slots),
		"--http-address=127.0.0.1:0",
	}, more...)
	h.process = start(t, roleHelper,
		&lines{each: func(line []byte) { h.obeyed <- string(line) }},
		&lines{each: h.logged}, args...)
	t.Cleanup(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if t.Failed() {
			t.Logf("the log of helper %d ends with\n%s", h.Process.Pid, strings.Join(h.recent, "\n"))
		}
	})
	return h
}

// serveHelper starts a helper and waits until it serves.
func serveHelper(t testing.TB, socket, platform string, slots int, more ...string) *helper {
	t.Helper()
	h := startHelper(t, socket, platform, slots, more...)
	select {
	case <-h.serving:
	case <-h.ended:
		t.Fatalf("the helper ended before it has served: %v", h.err)
	case <-time.After(patience):
		t.Fatalf("the helper does not serve within %s", patience)
	}
	return h
}

func (h *helper) logged(line []byte) {
	if bytes.Contains(line, []byte(`"msg":"quote"`)) ||
		bytes.Contains(line, []byte(`"msg":"dropped"`)) && !bytes.Contains(line, []byte(uid(goodPod))) {
		return
	}
	var entry struct{ Level, Msg, Address string }
	_ = json.Unmarshal(line, &entry) // a stack trace is no JSON, and is kept as it is
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
	case "health and metrics are served":
		h.address = entry.Address
	case "serving quotes":
		select {
		case <-h.serving: // it serves again
		default:
			close(h.serving)
		}
	}
}

// bugs are the lines of the log at ERROR.
func (h *helper) bugs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.errors
}

// become has the moody platform change its mood, and returns how often it has
// panicked so far. The mood holds once become has returned.
func (h *helper) become(t testing.TB, next mood) (p panics) {
	t.Helper()
	if _, err := fmt.Fprintln(h.stdin, next); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-h.obeyed:
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
	case <-h.ended:
		t.Fatalf("the helper has ended: %v", h.err)
	case <-time.After(patience):
		t.Fatalf("the platform does not become %s within %s", next, patience)
	}
	return p
}

// terminate asks the helper to stop, which it has to do well.
func (h *helper) terminate(t testing.TB) {
	t.Helper()
	_ = h.Process.Signal(syscall.SIGTERM) // it may have ended
	if err := h.wait(patience); err != nil {
		t.Errorf("the helper after SIGTERM: %v", err)
	}
}

// metrics are what a daemon tells, by name and labels as they are written.
type metrics map[string]float64

// metrics asks the helper, over a connection that leaves nothing behind.
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

// The metrics that the tests look at.
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

// await asks for the metrics until they are as wanted, but no longer than d. It
// returns the last ones.
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

// idle waits until a helper that stands by has served all who have come to it.
// Those who are not accepted yet are not counted, so it has to be idle for a
// while.
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
