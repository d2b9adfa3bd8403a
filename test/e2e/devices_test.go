package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDevices checks which devices containers get with each resource, and under which
// paths.
func TestDevices(t *testing.T) {
	const (
		provision     = "sgx.intel.com/provision"
		specification = "/var/run/cdi/confcom-sgx.json" // the plugin leaves it when it stops
	)
	t.Cleanup(func() {
		if err := os.Remove(specification); err != nil {
			t.Error(err)
		}
		_ = os.Remove(filepath.Dir(specification)) // unless others use it
	})
	for _, cdi := range []string{"false", "true"} {
		t.Run("cdi="+cdi, func(t *testing.T) {
			upgrade(t, "simulatedDevice=/dev/null", "provision.enabled=true", "provision.namespaces={default}", "devicePlugin.legacyDevicePaths=true", "devicePlugin.cdi="+cdi)
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
			if _, err := os.Stat(specification); cdi == "true" && err != nil {
				t.Errorf("CDI specification: %v", err)
			}
		})
	}
}

// TestNodeWithoutSGX checks that the daemons wait for SGX without restarting, and are ready.
func TestNodeWithoutSGX(t *testing.T) {
	if _, err := os.Stat("/dev/sgx_enclave"); err == nil {
		t.Skip("this machine has SGX")
	}
	loadDCAPImage(t)
	upgrade(t, "platform=dcap", "nodes=all")
	if log := helperLog(t); !strings.Contains(log, "no SGX, serving no quotes") {
		t.Errorf("log of the helper:\n%s", log)
	}
	for _, name := range []string{"sgx-device-plugin", "sgx-node-resource", helper} {
		if restarts := (pod{namespace, daemonPod(t, name)}).get(t, "{.status.containerStatuses[0].restartCount}"); restarts != "0" {
			t.Errorf("%s restarted %s times", name, restarts)
		}
	}
	if advertised := metrics(t, "sgx-device-plugin")["sgx_epc_advertised_bytes"]; advertised != 0 {
		t.Errorf("advertised %v bytes of EPC, want 0", advertised)
	}
	waitAllocatable(t, resource, "0")
}
