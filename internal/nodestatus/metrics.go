package nodestatus

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the metrics of a Writer.
type Metrics struct {
	writes, failures prometheus.Counter
	unguarded        prometheus.Gauge
	policyMissing    prometheus.Gauge
	quotesAvailable  *prometheus.GaugeVec // without labels: of a series that may not exist
}

// NewMetrics creates the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		registry.MustRegister(g)
		return g
	}
	quotesAvailable := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sgx_node_resource_quotes_available",
		Help: "1 while clients of the node's AESM socket can get quotes, else 0. It does not exist on a node without SGX, and before it is known."}, nil)
	registry.MustRegister(quotesAvailable)
	return &Metrics{
		quotesAvailable: quotesAvailable,
		unguarded:       gauge("sgx_node_resource_unguarded", "1 while no admission policy restricts what this daemon may write, and it therefore writes nothing, else 0."),
		policyMissing:   gauge("sgx_node_resource_policy_missing", "1 while this node is in mode node and an admission policy is missing or changed that gives pods with EPC the device, or refuses those without, else 0."),
		writes:          counter("sgx_node_resource_writes_total", "Writes of the node's status that succeeded."),
		failures:        counter("sgx_node_resource_write_failures_total", "Writes of the node's status that failed."),
	}
}

// observe records whether the writer is unguarded.
func (m *Metrics) observe(unguarded bool) { m.unguarded.Set(number(unguarded)) }

// observePolicy records whether something is wrong with the policies for pods with EPC.
func (m *Metrics) observePolicy(wrong bool) { m.policyMissing.Set(number(wrong)) }

// observeQuotes records whether clients can get quotes.
func (m *Metrics) observeQuotes(c condition) {
	if c.reason == reasonNoSGX {
		m.quotesAvailable.Reset()
		return
	}
	m.quotesAvailable.WithLabelValues().Set(number(c.available))
}

// number returns 1 for true.
func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
