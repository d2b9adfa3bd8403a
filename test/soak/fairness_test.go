package soak

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/loadgen"
)

// TestFairness: a pod that asks with 256 connections has another one with a single
// connection wait for no more than two quotes.
func TestFairness(t *testing.T) {
	pods, err := newPods(t)
	if err != nil {
		t.Skipf("NOT RUN: fairness between pods: no cgroups can be made here: %v", err)
	}
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	helper := serveHelper(t, socket, platformSlow, 1)
	ask := func(pod, clients int, d time.Duration) *job[map[asking]answers] {
		return startJob[map[asking]answers](t, roleClients, pods, pod, clientsTask{Socket: socket, Groups: map[asking]int{askQuotes: clients}, Duration: d})
	}
	greedy := ask(0, 256, 0)
	if m, ok := helper.await(patience, func(m metrics) bool { return m[metricWaiting] > 200 }); !ok {
		t.Fatalf("%v requests wait", m[metricWaiting])
	}
	modest := ask(1, 1, 2*time.Second).outcome(t)[askQuotes]
	others := greedy.stop(t)[askQuotes]

	m := helper.mustMetrics(t)
	service := time.Duration(m[metricServiceSum] / m[metricServed] * float64(time.Second)) // with what a busy machine adds
	wait := modest.Median - service
	t.Logf("a quote takes %s; the single client waits for %s (median of %d), the 256 others for %s each", service, wait, modest.Requests, others.Median)
	if modest.Failed > 0 || others.Failed > 0 {
		t.Errorf("errors: %v %v", modest.Failures, others.Failures)
	}
	if wait > 2*service {
		t.Errorf("the single client waits for %s, more than two quotes of %s", wait, service)
	}
	helper.terminate(t)
}

// TestPlaces: pods that fill the queue, as far as they may, leave a place in it to
// one that has none.
func TestPlaces(t *testing.T) {
	pods, err := newPods(t)
	if err != nil {
		t.Skipf("NOT RUN: fairness between pods: no cgroups can be made here: %v", err)
	}
	const (
		greedyPods = 5
		clients    = 256
		most       = 1000 // about as many as the queue takes
	)
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	helper := serveHelper(t, socket, platformMoody, 1)
	report := simulatedReport(t)
	ask := func(pod, clients int) *job[map[asking]answers] {
		return startJob[map[asking]answers](t, roleClients, pods, pod, clientsTask{
			Socket: socket, Groups: map[asking]int{askGiven: clients}, Report: report, Requests: uint64(clients),
		})
	}
	helper.become(t, moodHang)
	var greedy []*job[map[asking]answers]
	for i := range greedyPods {
		greedy = append(greedy, ask(i, clients))
	}
	if m, ok := helper.await(patience, func(m metrics) bool { return m[metricWaiting] >= most }); !ok {
		t.Fatalf("%v requests wait", m[metricWaiting])
	}
	modest := ask(greedyPods, 1)
	// One that gets no place ends now, one that does has to wait.
	if modest.wait(500*time.Millisecond) == nil {
		t.Error("a pod with a single request got no place in the queue")
	}
	helper.become(t, moodGood)
	if a := modest.outcome(t)[askGiven]; a.Failed > 0 {
		t.Error(a.Failures)
	}
	for _, g := range greedy {
		g.outcome(t) // some were refused
	}
	helper.terminate(t)
}

// TestCheapRequests: what needs no slot of the platform is answered while all are
// taken and many wait for one. How soon is for the benchmarks.
func TestCheapRequests(t *testing.T) {
	const clients = 32
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	helper := serveHelper(t, socket, platformMoody, 1)
	client := &aesm.Client{Socket: socket}
	quote, err := newRequest(t.Context(), askQuotes, client)
	if err != nil {
		t.Fatal(err)
	}

	helper.become(t, moodHang)
	asked := make(chan loadgen.Result, 1)
	go func() {
		asked <- loadgen.Run(t.Context(), loadgen.Options{Clients: clients, Requests: clients, Do: quote}, nil)
	}()
	busy := func(m metrics) bool { return m[metricInFlight] == 1 && m[metricWaiting] == clients-1 }
	if m, ok := helper.await(patience, busy); !ok {
		t.Fatalf("%v requests wait", m[metricWaiting])
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
		t.Errorf("the quotes did not wait all the time: %v", m[metricWaiting])
	}
	helper.become(t, moodGood)
	if r := <-asked; r.Failed > 0 || r.Requests != clients {
		t.Errorf("%d of %d quotes failed: %v", r.Failed, r.Requests, r.Failures)
	}
	helper.terminate(t)
}
