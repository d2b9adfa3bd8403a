package e2e

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestDevices: what containers get with each resource, and under which names.
func TestDevices(t *testing.T) {
	const provision = "sgx.intel.com/provision"
	for _, cdi := range []string{"false", "true"} {
		t.Run("cdi="+cdi, func(t *testing.T) {
			upgrade(t, "simulatedDevice=/dev/null", "provision.enabled=true", "devicePlugin.legacyDevicePaths=true", "devicePlugin.cdi="+cdi)
			waitAllocatable(t, provision, slots)
			for _, tt := range []struct {
				name               string
				limits             limits
				enclave, provision bool
			}{
				{"epc", limits{resource: "10"}, true, false},
				{"enclave", limits{enclave: "1"}, true, false},
				{"provision", limits{resource: "10", provision: "1"}, true, true},
				{"nothing", limits{"memory": "10Mi"}, false, false},
			} {
				t.Run(tt.name, func(t *testing.T) {
					p := newPod(t, "default", "devices-"+tt.name, tt.limits)
					p.waitReady(t)
					p.checkDevice(t, "/dev/sgx_enclave", tt.enclave)
					p.checkDevice(t, "/dev/sgx/enclave", tt.enclave)
					p.checkDevice(t, "/dev/sgx_provision", tt.provision)
					p.checkDevice(t, "/dev/sgx/provision", tt.provision)
				})
			}
			_, err := os.Stat("/var/run/cdi/confcom-sgx.json")
			if described := err == nil; cdi == "true" && !described {
				t.Errorf("the devices are not described: %v", err)
			}
		})
	}
}

// TestMetrics: what Prometheus is told.
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
		if got, there := samples[sample]; !there || got != value {
			t.Errorf("%s is %v (there: %v), want %v", sample, got, there, value)
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
		"sgx_epc_reserved_bytes",
		"sgx_epc_withheld_bytes",
	}
	if got := slices.Sorted(maps.Keys(names)); !slices.Equal(got, wantNames) {
		t.Errorf("metrics\n%q, want\n%q", got, wantNames)
	}
	for _, sample := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if _, there := samples[sample]; !there {
			t.Errorf("%s is missing", sample)
		}
	}
}

// TestPluginUpdate: while one plugin takes over from another, the node has its
// EPC all the time.
func TestPluginUpdate(t *testing.T) {
	watch := exec.Command("kubectl", "get", "node", nodeName(t), "--watch", "-o", "jsonpath="+allocatable(resource)+` `+allocatable(enclave)+`{"\n"}`)
	var seen strings.Builder
	watch.Stdout = &seen
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	before := daemon(t, "sgx-device-plugin")
	kubectl(t, "-n", namespace, "rollout", "restart", "daemonset/sgx-device-plugin")
	after := daemon(t, "sgx-device-plugin")
	kubectl(t, "-n", namespace, "wait", "pod/"+before, "--for=delete", "--timeout=60s")
	// The kubelet has taken in what has happened when a pod of after it runs.
	newPod(t, "default", "after-update", limits{resource: "10"}).waitReady(t)
	if err := watch.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = watch.Wait() // its error is that of being killed

	if before == after {
		t.Errorf("%s is the plugin before and after", after)
	}
	states := strings.Fields(strings.ReplaceAll(seen.String(), " ", "/"))
	if len(states) == 0 {
		t.Error("nothing was seen of the node")
	}
	for _, state := range states {
		if state != epc+"/"+slots {
			t.Errorf("allocatable was %s: %q", state, states)
			break
		}
	}
}

// TestNodeWithoutSGX: the daemons wait there for SGX, at peace.
func TestNodeWithoutSGX(t *testing.T) {
	if _, err := os.Stat("/dev/sgx_enclave"); err == nil {
		t.Skip("this machine has SGX")
	}
	upgrade(t, "platform=", "quoteHelper.enabled=false", "nodes=all")
	for _, name := range []string{"sgx-device-plugin", "sgx-node-resource"} {
		if restarts := (pod{namespace, daemon(t, name)}).get(t, "{.status.containerStatuses[0].restartCount}"); restarts != "0" {
			t.Errorf("%s has started %s times again", name, restarts)
		}
	}
	if offered := metrics(t, "sgx-device-plugin")["sgx_epc_advertised_bytes"]; offered != 0 {
		t.Errorf("%v bytes of EPC are advertised", offered)
	}
	waitAllocatable(t, resource, "0")
}
