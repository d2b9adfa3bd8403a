package dcap

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/ql/quote3"
)

// metrics are what the platform tells Prometheus.
type metrics struct {
	ends    *prometheus.CounterVec
	errors  *prometheus.CounterVec
	retries prometheus.Counter
	starts  prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer, workers *pool, kept string) *metrics {
	m := &metrics{
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sgx_quote_helper_worker_ends_total",
			Help: "Workers that have ended, were replaced or have not started, by the reason."}, []string{"reason"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sgx_quote_helper_quote3_errors_total",
			Help: "Errors of Intel's quoting library, by their name in quote3_error_t, also those after which another worker has made the quote."}, []string{"error"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{Name: "sgx_quote_helper_worker_retries_total",
			Help: "Quotes that another worker was asked for since one had failed."}),
		starts: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sgx_quote_helper_worker_start_seconds",
			Help: "How long workers have taken from their start until they could quote.", Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}}),
	}
	if registry != nil {
		registry.MustRegister(m.ends, m.errors, m.retries, m.starts,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sgx_quote_helper_workers", Help: "Workers that can quote."},
				func() float64 { return float64(workers.size()) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sgx_quote_helper_certificates_timestamp_seconds",
				Help: "When the provider was last heard of with the platform's certificates, in Unix time; 0 for never."},
				func() float64 {
					if at := certificates.LastFetched(kept); !at.IsZero() {
						return float64(at.Unix())
					}
					return 0
				}))
	}
	return m
}

func (m *metrics) ended(why end) { m.ends.WithLabelValues(string(why)).Inc() }

// saw counts an error of the library. Its names are few.
func (m *metrics) saw(code quote3.Error) { m.errors.WithLabelValues(code.Name()).Inc() }
