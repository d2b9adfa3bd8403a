package deviceplugin

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

// metrics are what the plugin tells Prometheus.
type metrics struct {
	registry prometheus.Registerer

	capacity, reserved, advertised, withheld prometheus.Gauge
	present                                  *prometheus.GaugeVec
	registered                               *prometheus.GaugeVec
	registrations, failures, allocations     *prometheus.CounterVec
}

// resourceMetrics are those of one resource.
type resourceMetrics struct {
	registered                           prometheus.Gauge
	registrations, failures, allocations prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) *metrics {
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
	return &metrics{
		registry:   registry,
		capacity:   gauge("sgx_epc_capacity_bytes", "EPC that this node has."),
		reserved:   gauge("sgx_epc_reserved_bytes", "EPC that is kept back on request."),
		advertised: gauge("sgx_epc_advertised_bytes", "EPC that pods can be given."),
		withheld:   gauge("sgx_epc_withheld_bytes", "EPC that is not advertised because of a limit on devices."),
		present:    gauges("sgx_device_present", "1 if the SGX device is there, else 0.", "device"),

		registered:    gauges("sgx_device_plugin_registered", "1 while the resource is registered with the kubelet, else 0.", "resource"),
		registrations: counters("sgx_device_plugin_registrations_total", "Registrations with the kubelet that it accepted."),
		failures:      counters("sgx_device_plugin_registration_failures_total", "Registrations with the kubelet that failed."),
		allocations:   counters("sgx_device_plugin_allocations_total", "Containers that were given the resource."),
	}
}

// forget takes back what is said of a resource that is no longer offered. What
// was counted stays.
func (m *metrics) forget(resource string) {
	m.registered.DeleteLabelValues(resource)
}

// of are the metrics of one resource, from the time on that it is offered.
func (m *metrics) of(resource string) resourceMetrics {
	return resourceMetrics{
		registered:    m.registered.WithLabelValues(resource),
		registrations: m.registrations.WithLabelValues(resource),
		failures:      m.failures.WithLabelValues(resource),
		allocations:   m.allocations.WithLabelValues(resource),
	}
}

// observe records what there is and what is offered of it.
func (m *metrics) observe(inv node.Inventory, o epc.Capacity) {
	mib := func(n int64) float64 { return float64(n) * float64(node.MiB) }
	m.capacity.Set(float64(inv.EPC()))
	m.reserved.Set(mib(o.ReservedMiB))
	m.advertised.Set(mib(o.MiB))
	m.withheld.Set(mib(o.WithheldMiB))
	for name, device := range map[string]*node.Device{"enclave": inv.Enclave, "provision": inv.Provision} {
		present := 0.0
		if device != nil {
			present = 1
		}
		m.present.WithLabelValues(name).Set(present)
	}
}
