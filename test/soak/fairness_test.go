package soak

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/loadgen"
)

// TestFairness checks that a pod with a single connection waits for at most two quotes,
// although another pod has 256 connections.
func TestFairness(t *testing.T) {
	pods, err := newPods(t)
	if err != nil {
		t.Skipf("NOT RUN: fairness between pods: cannot create cgroups: %v", err)
	}
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	helper := serveHelper(t, socket, backendSlow, 1, pods.helperArgs()...)
	ask := func(pod, clients int, d time.Duration) *job[map[requestKind]answers] {
		return startJob[map[requestKind]answers](t, roleClients, pods, pod, clientsTask{Socket: socket, Groups: map[requestKind]int{requestQuotes: clients}, Duration: d})
	}
	greedy := ask(0, 256, 0)
	if m, ok := helper.await(patience, func(m metrics) bool { return m[metricWaiting] > 200 }); !ok {
		t.Fatalf("%v requests waiting", m[metricWaiting])
	}
	modest := ask(1, 1, 2*time.Second).outcome(t)[requestQuotes]
	others := greedy.stop(t)[requestQuotes]

	m := helper.mustMetrics(t)
	service := time.Duration(m[metricServiceSum] / m[metricServed] * float64(time.Second)) // measured, as a busy machine takes longer
	wait := modest.Median - service
	t.Logf("a quote takes %s; the single client waits %s (median of %d), the 256 others %s each", service, wait, modest.Requests, others.Median)
	if modest.Failed > 0 || others.Failed > 0 {
		t.Errorf("failed requests: %v, %v", modest.Failures, others.Failures)
	}
	if wait > 2*service {
		t.Errorf("the single client waits %s, more than two quotes of %s", wait, service)
	}
	helper.terminate(t)
}

// TestQueuePlaces checks that a pod gets a place in the queue although other pods have
// more than a thousand, and that these lose none.
func TestQueuePlaces(t *testing.T) {
	pods, err := newPods(t)
	if err != nil {
		t.Skipf("NOT RUN: fairness between pods: cannot create cgroups: %v", err)
	}
	const (
		greedyPods = 5
		clients    = 256
		most       = greedyPods * clients
	)
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	helper := serveHelper(t, socket, backendFailing, 1, pods.helperArgs()...)
	report := simulatedReport(t)
	ask := func(pod, clients int) *job[map[requestKind]answers] {
		return startJob[map[requestKind]answers](t, roleClients, pods, pod, clientsTask{
			Socket: socket, Groups: map[requestKind]int{requestGiven: clients}, Report: report, Requests: uint64(clients),
		})
	}
	helper.setMode(t, modeHang)
	var greedy []*job[map[requestKind]answers]
	for i := range greedyPods {
		greedy = append(greedy, ask(i, clients))
	}
	if m, ok := helper.await(patience, func(m metrics) bool { return m[metricWaiting] >= most-1 }); !ok {
		t.Fatalf("%v requests waiting", m[metricWaiting])
	}
	modest := ask(greedyPods, 1)
	// A request without a place is rejected now; one with a place waits.
	if modest.wait(500*time.Millisecond) == nil {
		t.Error("a pod with a single request got no place in the queue")
	}
	helper.setMode(t, modeNone)
	if a := modest.outcome(t)[requestGiven]; a.Failed > 0 {
		t.Error(a.Failures)
	}
	for _, g := range greedy {
		if a := g.outcome(t)[requestGiven]; a.Failed > 0 {
			t.Error(a.Failures)
		}
	}
	helper.terminate(t)
}

// TestManyThreads checks that a pod gets as many quotes as the backend can make, however
// many threads of it ask at the same time, and that none of them is refused.
func TestManyThreads(t *testing.T) {
	const duration = 3 * time.Second
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	helper := serveHelper(t, socket, backendSlow, 1)
	report := simulatedReport(t)
	for _, clients := range []int{64, 400, 1000} {
		before := helper.mustMetrics(t)
		a := startJob[map[requestKind]answers](t, roleClients, nil, 0, clientsTask{
			Socket: socket, Groups: map[requestKind]int{requestGiven: clients}, Report: report, Duration: duration,
		}).outcome(t)[requestGiven]
		m := helper.mustMetrics(t)
		busy := time.Duration((m[metricServiceSum] - before[metricServiceSum]) * float64(time.Second))
		t.Logf("%d clients: %d quotes, the backend was busy for %s of %s", clients, a.Requests, busy, duration)
		if a.Failed > 0 {
			t.Errorf("%d clients: %d of %d requests failed: %v", clients, a.Failed, a.Requests, a.Failures)
		}
		if busy < duration*8/10 {
			t.Errorf("%d clients: the backend was busy for %s of %s", clients, busy, duration)
		}
	}
	helper.terminate(t)
}

// TestAsManyClientsAsConnections checks that a pod loses no request with as many clients as
// it may have connections, although the helper learns of the end of each only later. The
// quotes per second are logged to compare.
func TestAsManyClientsAsConnections(t *testing.T) {
	const duration = 3 * time.Second
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	helper := serveHelper(t, socket, backendSimulated, 2)
	report := simulatedReport(t)
	for _, clients := range []int{64, 1000, 1024, 1200} {
		a := startJob[map[requestKind]answers](t, roleClients, nil, 0, clientsTask{
			Socket: socket, Groups: map[requestKind]int{requestGiven: clients}, Report: report, Duration: duration,
		}).outcome(t)[requestGiven]
		t.Logf("%d clients: %.0f quotes/s, %d of %d failed, 99%% within %s", clients, a.rate(), a.Failed, a.Requests, a.P99)
		if a.Failed > 0 || a.Requests == 0 {
			t.Errorf("%d clients: %d of %d requests failed: %v", clients, a.Failed, a.Requests, a.Failures)
		}
	}
	helper.terminate(t)
}

// TestCheapRequests checks that requests that need no turn are answered while the backend
// is busy and many others wait. BenchmarkCheapRequests measures how soon.
func TestCheapRequests(t *testing.T) {
	const clients = 32
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	helper := serveHelper(t, socket, backendFailing, 1)
	client := &aesm.Client{Socket: socket}
	quote, err := newRequest(t.Context(), requestQuotes, client)
	if err != nil {
		t.Fatal(err)
	}

	helper.setMode(t, modeHang)
	asked := make(chan loadgen.Result, 1)
	go func() {
		asked <- loadgen.Run(t.Context(), loadgen.Options{Clients: clients, Requests: clients, Do: quote}, nil)
	}()
	busy := func(m metrics) bool { return m[metricInFlight] == 1 && m[metricWaiting] == clients-1 }
	if m, ok := helper.await(patience, busy); !ok {
		t.Fatalf("%v requests waiting", m[metricWaiting])
	}
	for what, do := range map[string]func(context.Context) error{
		"SelectKeyID":     loadgen.Keys(client),
		"QuoteSize":       loadgen.Sizes(client),
		"SupportedKeyIDs": func(ctx context.Context) error { _, err := client.SupportedKeyIDs(ctx); return err },
	} {
		if err := do(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if m := helper.mustMetrics(t); !busy(m) {
		t.Errorf("the requests for quotes did not wait all the time: %v waiting", m[metricWaiting])
	}
	helper.setMode(t, modeNone)
	if r := <-asked; r.Failed > 0 || r.Requests != clients {
		t.Errorf("%d of %d requests failed: %v", r.Failed, r.Requests, r.Failures)
	}
	helper.terminate(t)
}
