package deviceplugin

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

// Metrics are the metrics of the plugin.
type Metrics struct {
	capacity, reserved, advertised, withheld prometheus.Gauge
	holding                                  prometheus.Gauge
	state                                    *prometheus.GaugeVec
	present                                  *prometheus.GaugeVec
	registered, rivals                       *prometheus.GaugeVec
	registrations, failures, allocations     *prometheus.CounterVec
	allocated                                *allocatedCollector
}

// resourceMetrics are the metrics of one resource.
type resourceMetrics struct {
	registered                           prometheus.Gauge
	registrations, failures, allocations prometheus.Counter
}

// NewMetrics creates the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		registry.MustRegister(g)
		return g
	}
	gauges := func(name, help, label string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{label})
		registry.MustRegister(g)
		return g
	}
	counters := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"resource"})
		registry.MustRegister(c)
		return c
	}
	m := &Metrics{
		capacity:   gauge("sgx_epc_capacity_bytes", "EPC of the node."),
		reserved:   gauge("sgx_epc_reserved_bytes", "EPC that the configuration holds back."),
		advertised: gauge("sgx_epc_advertised_bytes", "EPC that pods can request."),
		withheld:   gauge("sgx_epc_withheld_bytes", "EPC that is not advertised because of the cap on devices."),
		holding:    gauge("sgx_epc_holding_pods", "Pods that keep the node from advertising EPC in the mode that is wanted."),
		state:      gauges("sgx_epc_state", "1 for the state in which the node advertises its EPC.", "state"),
		present:    gauges("sgx_device_present", "1 if the SGX device exists, else 0.", "device"),

		registered:    gauges("sgx_device_plugin_registered", "1 while the resource is registered with the kubelet, else 0.", "resource"),
		rivals:        gauges("sgx_device_plugin_rivals", "1 while another plugin advertises the resource as well.", "resource"),
		registrations: counters("sgx_device_plugin_registrations_total", "Registrations that the kubelet accepted."),
		failures:      counters("sgx_device_plugin_registration_failures_total", "Registrations with the kubelet that failed."),
		allocations:   counters("sgx_device_plugin_allocations_total", "Containers that were allocated the resource."),

		allocated: newAllocatedCollector(),
	}
	registry.MustRegister(m.allocated)
	return m
}

// forget removes the state of a resource that is no longer advertised. Its counters
// stay.
func (m *Metrics) forget(resource string) {
	m.registered.DeleteLabelValues(resource)
}

// of returns the metrics of one resource, which exist from then on.
func (m *Metrics) of(resource string) resourceMetrics {
	return resourceMetrics{
		registered:    m.registered.WithLabelValues(resource),
		registrations: m.registrations.WithLabelValues(resource),
		failures:      m.failures.WithLabelValues(resource),
		allocations:   m.allocations.WithLabelValues(resource),
	}
}

// observe records what the machine has and what is advertised of it.
func (m *Metrics) observe(inv node.Inventory, c epc.Capacity) {
	mib := func(n int64) float64 { return float64(n) * float64(node.MiB) }
	m.capacity.Set(float64(inv.EPC()))
	m.reserved.Set(mib(c.ReservedMiB))
	m.advertised.Set(mib(c.MiB))
	m.withheld.Set(mib(c.WithheldMiB))
	for name, device := range map[string]*node.Device{"enclave": inv.Enclave, "provision": inv.Provision} {
		present := 0.0
		if device != nil {
			present = 1
		}
		m.present.WithLabelValues(name).Set(present)
	}
}

// observeState records how EPC is advertised.
func (m *Metrics) observeState(a epc.Advertisement) {
	m.state.Reset()
	m.state.WithLabelValues(string(a.State)).Set(1)
	m.holding.Set(float64(a.Pods))
}
