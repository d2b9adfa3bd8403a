package verifyserver

import (
	"cmp"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/attest"
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
	statuses *prometheus.CounterVec
	age      prometheus.Histogram
	fetches  *prometheus.CounterVec
	broken   *prometheus.GaugeVec
}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "confcom_verifier_requests_total",
			Help: "Requests to verify a quote, by verdict."}, []string{"verdict"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "confcom_verifier_seconds",
			Help: "Time to verify a quote, including the time to fetch collateral.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8)}),
		statuses: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "confcom_verifier_tcb_status_total",
			Help: "Quotes by the TCB status of their platform, in Intel's words, or \"unknown\"."}, []string{"status"}),
		age: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "confcom_verifier_collateral_age_seconds",
			Help: "Time since the oldest of TCB info, QE identity and PCK CRL was issued with which a quote was verified.",
			// An hour to 90 days: Intel's collateral is valid for 30.
			Buckets: []float64{3600, 6 * 3600, 86400, 3 * 86400, 7 * 86400, 14 * 86400, 30 * 86400, 90 * 86400}}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "confcom_verifier_collateral_fetches_total",
			Help: "Parts of collateral that were fetched from the collateral service, by outcome."}, []string{"part", "outcome"}),
		broken: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "confcom_verifier_reload_failed",
			Help: "1 while the newest version of a file (policy, certificate, collateral, EAR key or challenge key) cannot be used, so that the former one stays in force."}, []string{"file"}),
	}
	registry.MustRegister(m.requests, m.seconds, m.statuses, m.age, m.fetches, m.broken)
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

// verified counts a result, as of a time.
func (m *Metrics) verified(r *attest.Result, at time.Time) {
	if m == nil {
		return
	}
	m.statuses.WithLabelValues(cmp.Or(string(r.Status), "unknown")).Inc()
	if !r.CollateralIssued.IsZero() {
		m.age.Observe(at.Sub(r.CollateralIssued).Seconds())
	}
}

// Fetched counts a part of collateral that was fetched, or could not be.
func (m *Metrics) Fetched(part string, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	m.fetches.WithLabelValues(part, outcome).Inc()
}

// Reloaded records whether the newest version of a file can be used.
func (m *Metrics) Reloaded(file string, err error) {
	failed := 0.0
	if err != nil {
		failed = 1
	}
	m.broken.WithLabelValues(file).Set(failed)
}
