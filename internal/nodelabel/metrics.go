package nodelabel

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the metrics of a Labeller.
type Metrics struct {
	writes, failures prometheus.Counter
	unguarded        prometheus.Gauge
}

// NewMetrics creates the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		writes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "sgx_node_labeller_writes_total", Help: "Writes of the node's label that succeeded."}),
		failures:  prometheus.NewCounter(prometheus.CounterOpts{Name: "sgx_node_labeller_write_failures_total", Help: "Writes of the node's label that failed."}),
		unguarded: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sgx_node_labeller_unguarded", Help: "1 while no admission policy restricts what this daemon may write, and it therefore writes nothing, else 0."}),
	}
	registry.MustRegister(m.writes, m.failures, m.unguarded)
	return m
}

// observe records whether the labeller is unguarded.
func (m *Metrics) observe(unguarded bool) {
	m.unguarded.Set(0)
	if unguarded {
		m.unguarded.Set(1)
	}
}
