package quoting

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/peer"
	"github.com/confcom/confcom/sgx"
)

// silent returns an observer without a log.
func silent(metrics *Metrics) *Observer {
	return NewObserver(slog.New(slog.DiscardHandler), metrics)
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics := NewMetrics(registry)
	s := NewService(new(stub), 3, metrics)
	o := silent(metrics)
	for _, e := range []aesm.Exchange{
		{Kind: aesm.KindGetQuoteEx},
		{Kind: aesm.KindGetQuoteEx},
		{Kind: aesm.KindGetQuoteEx, Code: aesm.CodeBusy, Err: &Failure{Layer: LayerQueue, Code: aesm.CodeBusy, Err: errors.New("full")}},
		{Kind: aesm.KindInitQuote, Code: aesm.CodeServiceUnavailable, Err: aesm.CodeServiceUnavailable},
		{Kind: aesm.KindInitQuoteEx, Code: aesm.CodeUnexpected, Err: &aesm.PanicError{Value: "bug"}},
		{Kind: aesm.KindInitQuoteEx, Probe: true, Code: aesm.CodeUnexpected, Err: aesm.CodeUnexpected},
		{Drop: aesm.DropEvicted},
		{Drop: aesm.DropMalformed, Err: errors.New("nonsense")},
	} {
		o.Connected()
		o.Ended(t.Context(), e)
	}
	o.Ended(t.Context(), aesm.Exchange{Drop: aesm.DropAccept, Err: errors.New("too many files")})
	o.Connected() // and stays open
	s.queue.enter(t.Context(), "a", workQuote)

	want := `
# HELP sgx_quote_helper_connections Open connections.
# TYPE sgx_quote_helper_connections gauge
sgx_quote_helper_connections 1
# HELP sgx_quote_helper_dropped_connections_total Connections closed without an answer, by reason.
# TYPE sgx_quote_helper_dropped_connections_total counter
sgx_quote_helper_dropped_connections_total{reason="accept"} 1
sgx_quote_helper_dropped_connections_total{reason="evicted"} 1
sgx_quote_helper_dropped_connections_total{reason="malformed"} 1
# HELP sgx_quote_helper_failures_total Requests answered with an error, by the layer that the error comes from.
# TYPE sgx_quote_helper_failures_total counter
sgx_quote_helper_failures_total{layer="client"} 1
sgx_quote_helper_failures_total{layer="queue"} 1
# HELP sgx_quote_helper_panics_total Panics while serving a request or checking the quote backend. Each is a bug; its stack is in the log.
# TYPE sgx_quote_helper_panics_total counter
sgx_quote_helper_panics_total 1
# HELP sgx_quote_helper_platform_slots Requests that the quote backend can serve at a time.
# TYPE sgx_quote_helper_platform_slots gauge
sgx_quote_helper_platform_slots 3
# HELP sgx_quote_helper_probes_total Requests answered that were checks whether the quote helper answers, by kind of request and AESM code of the answer. No other metric of requests or failures has them.
# TYPE sgx_quote_helper_probes_total counter
sgx_quote_helper_probes_total{code="UNEXPECTED",request="InitQuoteEx"} 1
# HELP sgx_quote_helper_requests_in_flight Requests that the quote backend is serving.
# TYPE sgx_quote_helper_requests_in_flight gauge
sgx_quote_helper_requests_in_flight 1
# HELP sgx_quote_helper_requests_total Requests answered, by kind of request and AESM code of the answer.
# TYPE sgx_quote_helper_requests_total counter
sgx_quote_helper_requests_total{code="BUSY",request="GetQuoteEx"} 1
sgx_quote_helper_requests_total{code="SERVICE_UNAVAILABLE",request="InitQuote"} 1
sgx_quote_helper_requests_total{code="SUCCESS",request="GetQuoteEx"} 2
sgx_quote_helper_requests_total{code="UNEXPECTED",request="InitQuoteEx"} 1
# HELP sgx_quote_helper_requests_waiting Requests that wait in the queue for the quote backend.
# TYPE sgx_quote_helper_requests_waiting gauge
sgx_quote_helper_requests_waiting 0
`
	var names []string
	for line := range strings.Lines(want) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[1] == "HELP" {
			names = append(names, fields[2])
		}
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}

	// There are no other metrics but the histograms.
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetType().String() != "HISTOGRAM" && !slices.Contains(names, f.GetName()) {
			t.Errorf("metric missing in this test: %s", f.GetName())
		}
	}
}

// A client that marks all of its requests as probes is seen all the same: few of them count
// as such. The checks of confcom all do.
func TestProbesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		o := silent(NewMetrics(registry))
		probe := func(pod string, times int) {
			for range times {
				o.Connected()
				o.Ended(t.Context(), aesm.Exchange{Peer: peer.Peer{Pod: pod}, Kind: aesm.KindInitQuoteEx, Probe: true, Code: aesm.CodeNetwork, Err: &Failure{Layer: LayerNetwork, Code: aesm.CodeNetwork, Err: errors.New("down")}})
			}
		}
		probe("much", 1000)
		// The doctor in the pod of the quote helper, which checks its own socket.
		for range 10 {
			probe("own", 2+4)
			time.Sleep(probesEvery)
		}
		o.sweep()
		if n := len(o.probes.peers); n != 0 {
			t.Errorf("%d peers are remembered", n)
		}
		for _, counted := range []struct {
			metric string
			want   string
		}{
			{"sgx_quote_helper_probes_total", `{code="NETWORK",request="InitQuoteEx"} 70`},
			{"sgx_quote_helper_requests_total", `{code="NETWORK",request="InitQuoteEx"} 990`},
			{"sgx_quote_helper_pod_errors_total", `{uid="much"} 990`},
			{"sgx_quote_helper_failures_total", `{layer="network"} 990`},
		} {
			text, err := testutil.CollectAndFormat(registry, expfmt.TypeTextPlain, counted.metric)
			if err != nil || !strings.HasSuffix(string(text), " counter\n"+counted.metric+counted.want+"\n") {
				t.Errorf("%v, want %s in\n%s", err, counted.want, text)
			}
		}
	})
}

// probesEvery is the time between two checks of the AESM socket.
const probesEvery = 10 * time.Second

// The number of series does not depend on what clients and backends send.
func TestMetricsAreBounded(t *testing.T) {
	registry := prometheus.NewRegistry()
	o := silent(NewMetrics(registry))
	for drop := aesm.DropProbe; drop <= aesm.DropAccept; drop++ {
		o.Ended(t.Context(), aesm.Exchange{Peer: peer.Peer{Pod: drop.String()}, Drop: drop, Err: errors.New(drop.String())})
	}
	for _, layer := range []Layer{LayerClient, LayerQueue, LayerBackend, LayerWorker, LayerProvider, LayerNetwork} {
		for code := aesm.CodeUnexpected; code <= aesm.CodeConfigUnsupported; code++ {
			o.Ended(t.Context(), aesm.Exchange{Peer: peer.Peer{Container: code.String()}, Kind: aesm.KindGetQuoteEx, Code: code, Err: &Failure{Layer: layer, Code: code, Err: code},
				Report: &sgx.Report{Body: sgx.ReportBody{MREnclave: sgx.Measurement{byte(code)}}}})
		}
	}
	for name, want := range map[string]int{
		"sgx_quote_helper_dropped_connections_total": int(aesm.DropAccept),
		"sgx_quote_helper_failures_total":            6,
		"sgx_quote_helper_requests_total":            int(aesm.CodeConfigUnsupported),
	} {
		if n, err := testutil.GatherAndCount(registry, name); n != want || err != nil {
			t.Errorf("%s: %d series, want %d, %v", name, n, want, err)
		}
	}
}

// An upstream daemon can answer with any number; all unknown ones share a series.
func TestMetricsOfUnknownCodes(t *testing.T) {
	registry := prometheus.NewRegistry()
	o := silent(NewMetrics(registry))
	for code := aesm.Code(1000); code < 1100; code++ {
		o.Ended(t.Context(), aesm.Exchange{Kind: aesm.KindGetQuoteEx, Code: code, Err: code})
	}
	if n, err := testutil.GatherAndCount(registry, "sgx_quote_helper_requests_total"); n != 1 || err != nil {
		t.Errorf("%d series, %v", n, err)
	}
}

// However connections end, the gauge returns to 0.
func TestMetricsOfConnections(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics := NewMetrics(registry)
	g := newGate()
	s := NewService(&stub{quote: g.pass}, 1, metrics)
	o := silent(metrics)
	socket, exchanges := listen(t, &aesm.Server{
		Handler:  s,
		MaxConns: 8, // two of a peer
		Identify: func(net.Conn) aesm.Peer { o.Connected(); return nil },
		Observe:  o.Ended,
	})
	open := func() float64 { return testutil.ToFloat64(metrics.connections) }
	expect := func(want aesm.Drop) {
		t.Helper()
		if e := <-exchanges; e.Drop != want {
			t.Errorf("%+v, want %s", e, want)
		}
	}

	asking := ask(t, socket)
	<-g.entered
	if n := open(); n != 1 {
		t.Errorf("%v connections are open, want 1", n)
	}
	var idle []net.Conn
	for range 4 { // two of them wait for room; the last one replaces the first
		idle = append(idle, dial(t, socket))
	}
	expect(aesm.DropEvicted)
	for _, conn := range idle[1:] {
		conn.Close()
		expect(aesm.DropProbe)
	}
	again := ask(t, socket)
	waitForOne(s.queue)
	for range 2 { // they wait for room
		dial(t, socket).Close()
	}
	dial(t, socket)
	expect(aesm.DropRefused)
	for _, conn := range []net.Conn{asking, again} {
		if conn == again {
			<-g.entered
		}
		g.leave <- struct{}{}
		if reply, err := io.ReadAll(conn); len(reply) < stubSize || err != nil {
			t.Errorf("%d bytes, %v", len(reply), err)
		}
	}
	drops := make(map[aesm.Drop]int)
	for range 4 {
		drops[(<-exchanges).Drop]++
	}
	if drops[aesm.NotDropped] != 2 || drops[aesm.DropProbe] != 2 {
		t.Errorf("got %v", drops)
	}
	dial(t, socket).Close()
	expect(aesm.DropProbe)
	malformed := dial(t, socket)
	malformed.Write(make([]byte, 8))
	expect(aesm.DropMalformed)
	tooLarge := dial(t, socket)
	tooLarge.Write([]byte{0, 0, 0, 1})
	expect(aesm.DropTooLarge)
	if n := open(); n != 0 {
		t.Errorf("%v connections are open, want 0", n)
	}
}

func TestWithoutMetrics(t *testing.T) {
	s := NewService(new(stub), 1, nil)
	if err := quoteAs(t.Context(), s, "a"); err != nil {
		t.Error(err)
	}
	panicking := NewService(&stub{init: func(context.Context) (aesm.Initialized, error) { panic("bug") }}, 1, nil)
	if err := panicking.Check(t.Context()); err == nil {
		t.Error("a check that panicked returned no error")
	}
	t.Run("observer", func(t *testing.T) {
		o := silent(nil)
		o.Connected()
		o.Ended(t.Context(), aesm.Exchange{Drop: aesm.DropProbe})
		o.Ended(t.Context(), aesm.Exchange{Kind: aesm.KindGetQuoteEx, Code: aesm.CodeBusy, Err: aesm.CodeBusy})
		o.Ended(t.Context(), aesm.Exchange{Kind: aesm.KindGetQuoteEx, Code: aesm.CodeUnexpected, Err: &aesm.PanicError{}})
	})
}

// histogram is the number of observations and their sum.
type histogram struct {
	count uint64
	sum   float64
}

func histogramOf(t *testing.T, registry *prometheus.Registry, name string) histogram {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			h := f.GetMetric()[0].GetHistogram()
			return histogram{h.GetSampleCount(), h.GetSampleSum()}
		}
	}
	t.Errorf("no metric %s", name)
	return histogram{}
}
