package nodestatus

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the metrics of a Writer.
type Metrics struct {
	writes, failures prometheus.Counter
	unguarded        prometheus.Gauge
}

// NewMetrics creates the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		registry.MustRegister(c)
		return c
	}
	unguarded := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sgx_node_resource_unguarded",
		Help: "1 while no admission policy restricts what this daemon may write, and it therefore writes nothing, else 0.",
	})
	registry.MustRegister(unguarded)
	return &Metrics{
		unguarded: unguarded,
		writes:    counter("sgx_node_resource_writes_total", "Writes of the node's status that succeeded."),
		failures:  counter("sgx_node_resource_write_failures_total", "Writes of the node's status that failed."),
	}
}

// observe records whether the writer is unguarded.
func (m *Metrics) observe(unguarded bool) {
	value := 0.0
	if unguarded {
		value = 1
	}
	m.unguarded.Set(value)
}
