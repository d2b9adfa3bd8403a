package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestMetrics checks the metrics of the device plugin.
func TestMetrics(t *testing.T) {
	newPod(t, "default", "metrics", limits{resource: "10"}).waitReady(t)
	samples := metrics(t, "sgx-device-plugin")

	want := map[string]float64{
		"sgx_epc_capacity_bytes":   64 << 20,
		"sgx_epc_reserved_bytes":   0,
		"sgx_epc_advertised_bytes": 64 << 20,
		"sgx_epc_withheld_bytes":   0,
		`sgx_epc_allocated_bytes{container="main",namespace="default",pod="metrics"}`: 10 << 20,
		`sgx_device_plugin_registered{resource="` + resource + `"}`:                   1,
		`sgx_device_plugin_registered{resource="` + enclave + `"}`:                    1,
	}
	for sample, value := range want {
		if got, found := samples[sample]; !found || got != value {
			t.Errorf("%s is %v (found: %v), want %v", sample, got, found, value)
		}
	}

	names := make(map[string]bool)
	for sample := range samples {
		name, _, _ := strings.Cut(sample, "{")
		if strings.HasPrefix(name, "sgx_") {
			names[name] = true
		}
	}
	wantNames := []string{
		"sgx_device_plugin_allocations_total",
		"sgx_device_plugin_registered",
		"sgx_device_plugin_registration_failures_total",
		"sgx_device_plugin_registrations_total",
		"sgx_device_present",
		"sgx_epc_advertised_bytes",
		"sgx_epc_allocated_bytes",
		"sgx_epc_capacity_bytes",
		"sgx_epc_holding_pods",
		"sgx_epc_reserved_bytes",
		"sgx_epc_state",
		"sgx_epc_withheld_bytes",
	}
	if got := slices.Sorted(maps.Keys(names)); !slices.Equal(got, wantNames) {
		t.Errorf("metrics\n%q, want\n%q", got, wantNames)
	}
	for _, sample := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if _, found := samples[sample]; !found {
			t.Errorf("%s is missing", sample)
		}
	}
}
