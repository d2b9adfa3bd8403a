package nodestatus

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the metrics of a Writer.
type Metrics struct{ writes, failures prometheus.Counter }

// NewMetrics creates the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		registry.MustRegister(c)
		return c
	}
	return &Metrics{
		writes:   counter("sgx_node_resource_writes_total", "Writes of the node's status that succeeded."),
		failures: counter("sgx_node_resource_write_failures_total", "Writes of the node's status that failed."),
	}
}
