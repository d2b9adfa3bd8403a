package daemon

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the metrics that every daemon has in addition to those of the Go
// runtime and of the process.
type Metrics struct{ build, met *prometheus.GaugeVec }

// NewMetrics creates the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		build: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "confcom_build_info",
			Help: "1, labelled with the daemon and its version.",
		}, []string{"daemon", "version"}),
		met: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "confcom_condition_met",
			Help: "1 if a condition of readiness is met, 0 otherwise. /statusz has the reason.",
		}, []string{"condition"}),
	}
	registry.MustRegister(m.build, m.met)
	return m
}

// condition records whether a condition is met. A nil Metrics records nothing.
func (m *Metrics) condition(name string, met bool) {
	if m == nil {
		return
	}
	value := 0.0
	if met {
		value = 1
	}
	m.met.WithLabelValues(name).Set(value)
}

// newRegistry returns a registry with the metrics that every daemon has.
func newRegistry(daemon string) (*prometheus.Registry, *Metrics) {
	registry := prometheus.NewRegistry()
	metrics := NewMetrics(registry)
	metrics.build.WithLabelValues(daemon, version()).Set(1)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry, metrics
}
