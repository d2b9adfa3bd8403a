package verifyserver

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// verdict is the outcome of a request, as the metric names it.
type verdict string

const (
	trusted       verdict = "trusted"
	notTrusted    verdict = "not_trusted"
	incomplete    verdict = "incomplete"
	badCollateral verdict = "bad_collateral" // not trusted, because of the collateral
	badRequest    verdict = "bad_request"
	unavailable   verdict = "unavailable" // no collateral, or too many requests
)

// Metrics are the Prometheus metrics of the service.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
	broken   *prometheus.GaugeVec
}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "confcom_verifier_requests_total",
			Help: "Requests to verify a quote, by verdict."}, []string{"verdict"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "confcom_verifier_seconds",
			Help: "Time to verify a quote, including the time to fetch collateral.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8)}),
		broken: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "confcom_verifier_reload_failed",
			Help: "1 while the newest version of a file (policy, certificate or collateral) cannot be used, so that the former one stays in force."}, []string{"file"}),
	}
	registry.MustRegister(m.requests, m.seconds, m.broken)
	return m
}

func (m *Metrics) count(v verdict) {
	if m != nil {
		m.requests.WithLabelValues(string(v)).Inc()
	}
}

func (m *Metrics) took(d time.Duration) {
	if m != nil {
		m.seconds.Observe(d.Seconds())
	}
}

// Reloaded records whether the newest version of a file can be used.
func (m *Metrics) Reloaded(file string, err error) {
	failed := 0.0
	if err != nil {
		failed = 1
	}
	m.broken.WithLabelValues(file).Set(failed)
}
