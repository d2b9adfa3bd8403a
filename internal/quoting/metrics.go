package quoting

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/aesm"
)

// Metrics are the Prometheus metrics of the quote service. No label value comes from
// a client, and the number of pods with series is limited. A nil *Metrics counts nothing.
type Metrics struct {
	requests    *prometheus.CounterVec
	probes      *prometheus.CounterVec
	failures    *prometheus.CounterVec
	drops       *prometheus.CounterVec
	panics      prometheus.Counter
	connections prometheus.Gauge
	wait        prometheus.Histogram
	service     prometheus.Histogram
	pods        *podCounts
	queue       atomic.Pointer[queue] // nil until there is a Service
}

// NewMetrics registers the metrics. They describe one Service.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	seconds := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help,
			Buckets: []float64{0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}})
	}
	m := &Metrics{
		requests: counters("sgx_quote_helper_requests_total", "Requests answered, by kind of request and AESM code of the answer.", "request", "code"),
		probes:   counters("sgx_quote_helper_probes_total", "Requests answered that were checks whether the quote helper answers, by kind of request and AESM code of the answer. No other metric of requests or failures has them.", "request", "code"),
		failures: counters("sgx_quote_helper_failures_total", "Requests answered with an error, by the layer that the error comes from.", "layer"),
		drops:    counters("sgx_quote_helper_dropped_connections_total", "Connections closed without an answer, by reason.", "reason"),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Name: "sgx_quote_helper_panics_total",
			Help: "Panics while serving a request or checking the quote backend. Each is a bug; its stack is in the log."}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sgx_quote_helper_connections", Help: "Open connections."}),
		wait:        seconds("sgx_quote_helper_queue_wait_seconds", "Time that requests waited in the queue before the quote backend served them."),
		pods:        newPodCounts(),
		service:     seconds("sgx_quote_helper_service_seconds", "Time that the quote backend took to serve a request."),
	}
	gauge := func(name, help string, value func(*queue) int) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			if q := m.queue.Load(); q != nil {
				return float64(value(q))
			}
			return 0
		})
	}
	registry.MustRegister(m.requests, m.probes, m.failures, m.pods, m.drops, m.panics, m.connections, m.wait, m.service,
		gauge("sgx_quote_helper_platform_slots", "Requests that the quote backend can serve at a time.",
			func(q *queue) int { return q.concurrency }),
		gauge("sgx_quote_helper_requests_in_flight", "Requests that the quote backend is serving.",
			func(q *queue) int { inService, _ := q.load(); return inService }),
		gauge("sgx_quote_helper_requests_waiting", "Requests that wait in the queue for the quote backend.",
			func(q *queue) int { _, waiting := q.load(); return waiting }))
	return m
}

// watch has the gauges report the state of q.
func (m *Metrics) watch(q *queue) {
	if m != nil {
		m.queue.Store(q)
	}
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

// ended counts the end of a connection.
func (m *Metrics) ended(e aesm.Exchange) {
	if m == nil {
		return
	}
	switch e.Drop {
	case aesm.DropAccept:
		m.drops.WithLabelValues(e.Drop.String()).Inc()
		return // there was no connection
	case aesm.NotDropped:
		code := "unknown" // an upstream daemon can answer with any number
		if e.Code <= aesm.CodeConfigUnsupported {
			code = e.Code.String()
		}
		if e.Probe {
			m.probes.WithLabelValues(e.Kind.String(), code).Inc()
			break
		}
		m.requests.WithLabelValues(e.Kind.String(), code).Inc()
		m.pods.count(e, time.Now())
	default:
		m.drops.WithLabelValues(e.Drop.String()).Inc()
	}
	m.connections.Dec()
}
