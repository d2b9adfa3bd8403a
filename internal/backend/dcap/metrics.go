package dcap

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
)

// Metrics are the metrics of a Backend. A nil *Metrics counts nothing.
type Metrics struct {
	ends    *prometheus.CounterVec
	errors  *prometheus.CounterVec
	retries prometheus.Counter
	starts  prometheus.Histogram
	backend atomic.Pointer[Backend] // what the gauges are about, once it has started
}

// NewMetrics returns metrics that are registered with registry.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sgx_quote_helper_worker_ends_total",
			Help: "Workers that ended, were replaced or did not start, by reason."}, []string{"reason"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sgx_quote_helper_quote3_errors_total",
			Help: "Errors of Intel's quoting library by their name in quote3_error_t, including those after which another worker made the quote."}, []string{"error"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{Name: "sgx_quote_helper_worker_retries_total",
			Help: "Quotes that were requested from another worker because one had failed."}),
		starts: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sgx_quote_helper_worker_start_seconds",
			Help: "Time from the start of a worker until it can quote.", Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}}),
	}
	gauge := func(name, help string, value func(*Backend) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			if b := m.backend.Load(); b != nil {
				return value(b)
			}
			return 0
		})
	}
	registry.MustRegister(m.ends, m.errors, m.retries, m.starts,
		gauge("sgx_quote_helper_workers", "Workers that can quote.",
			func(b *Backend) float64 { return float64(b.pool.Len()) }),
		gauge("sgx_quote_helper_certificates_timestamp_seconds", "When the provider last returned certificates of the platform, in Unix time; 0 for never.",
			func(b *Backend) float64 {
				fetched, _ := certificates.LastFetched(b.config.Certificates)
				return unixTime(fetched)
			}),
		gauge("sgx_quote_helper_certificates_network_timestamp_seconds", "When the provider last got them from the certificate service, and not from its own cache, in Unix time; 0 for never or if the provider does not log it.",
			func(b *Backend) float64 {
				_, fromNetwork := certificates.LastFetched(b.config.Certificates)
				return unixTime(fromNetwork)
			}))
	return m
}

// unixTime returns a time in seconds; 0 for the zero time.
func unixTime(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

// watch makes the gauges those of a backend.
func (m *Metrics) watch(b *Backend) {
	if m != nil {
		m.backend.Store(b)
	}
}

// ended counts the end of a worker.
func (m *Metrics) ended(why reason) {
	if m != nil {
		m.ends.WithLabelValues(string(why)).Inc()
	}
}

// started observes how long the start of a worker took.
func (m *Metrics) started(took time.Duration) {
	if m != nil {
		m.starts.Observe(took.Seconds())
	}
}

// retried counts a quote that is requested from another worker.
func (m *Metrics) retried() {
	if m != nil {
		m.retries.Inc()
	}
}

// saw counts an error of the library. It has few names.
func (m *Metrics) saw(code quote3.Error) {
	if m != nil {
		m.errors.WithLabelValues(code.Name()).Inc()
	}
}
