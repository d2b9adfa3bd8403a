package daemon

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the metrics that every daemon has in addition to those of the Go
// runtime and of the process.
type Metrics struct{ build *prometheus.GaugeVec }

// NewMetrics creates the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{build: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "confcom_build_info",
		Help: "1, labelled with the daemon and its version.",
	}, []string{"daemon", "version"})}
	registry.MustRegister(m.build)
	return m
}

// newRegistry returns a registry with the metrics that every daemon has.
func newRegistry(daemon string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	NewMetrics(registry).build.WithLabelValues(daemon, version()).Set(1)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}
