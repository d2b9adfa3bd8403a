package quoting

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/aesm"
)

// Metrics are what the quote service tells Prometheus. Nothing in their labels
// comes from clients, so that their number is bounded. A nil *Metrics counts
// nothing.
type Metrics struct {
	registry    prometheus.Registerer
	requests    *prometheus.CounterVec
	failures    *prometheus.CounterVec
	drops       *prometheus.CounterVec
	panics      prometheus.Counter
	connections prometheus.Gauge
	wait        prometheus.Histogram
	service     prometheus.Histogram
}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	seconds := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help,
			Buckets: []float64{0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}})
	}
	m := &Metrics{
		registry: registry,
		requests: counters("sgx_quote_helper_requests_total", "Requests that were answered, by their kind and the AESM code of the answer.", "request", "code"),
		failures: counters("sgx_quote_helper_failures_total", "Requests that were answered with an error, by the layer that it comes from.", "layer"),
		drops:    counters("sgx_quote_helper_dropped_connections_total", "Connections that were closed without an answer, by the reason.", "reason"),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Name: "sgx_quote_helper_panics_total",
			Help: "Requests that met with a bug of the quote helper, which is in its log."}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sgx_quote_helper_connections", Help: "Open connections."}),
		wait:        seconds("sgx_quote_helper_queue_wait_seconds", "How long requests have waited for a slot of the platform."),
		service:     seconds("sgx_quote_helper_service_seconds", "How long the platform has taken for a request."),
	}
	registry.MustRegister(m.requests, m.failures, m.drops, m.panics, m.connections, m.wait, m.service)
	return m
}

// watch adds what the queue can tell at any time.
func (m *Metrics) watch(q *queue) {
	if m == nil {
		return
	}
	gauge := func(name, help string, value func() int) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value()) }))
	}
	gauge("sgx_quote_helper_platform_slots", "Requests that the platform serves at a time.", func() int { return q.slots })
	gauge("sgx_quote_helper_requests_in_flight", "Requests that the platform serves now.", func() int { taken, _ := q.load(); return taken })
	gauge("sgx_quote_helper_requests_waiting", "Requests that wait for a slot of the platform now.", func() int { _, waiting := q.load(); return waiting })
}

func (m *Metrics) waited(d time.Duration) {
	if m != nil {
		m.wait.Observe(d.Seconds())
	}
}

func (m *Metrics) served(d time.Duration) {
	if m != nil {
		m.service.Observe(d.Seconds())
	}
}

func (m *Metrics) panicked() {
	if m != nil {
		m.panics.Inc()
	}
}

// connected counts a new connection.
func (m *Metrics) connected() {
	if m != nil {
		m.connections.Inc()
	}
}

// failed counts an answer with an error.
func (m *Metrics) failed(layer Layer) {
	if m != nil {
		m.failures.WithLabelValues(string(layer)).Inc()
	}
}

// ended counts what became of a connection.
func (m *Metrics) ended(e aesm.Exchange) {
	if m == nil {
		return
	}
	switch e.Drop {
	case aesm.DropAccept:
		m.drops.WithLabelValues(e.Drop.String()).Inc()
		return // there was none
	case aesm.NotDropped:
		code := "unknown" // a daemon upstream can have any number
		if e.Code <= aesm.CodeConfigUnsupported {
			code = e.Code.String()
		}
		m.requests.WithLabelValues(e.Kind.String(), code).Inc()
	default:
		m.drops.WithLabelValues(e.Drop.String()).Inc()
	}
	m.connections.Dec()
}
