package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	advertised "github.com/confcom/confcom/internal/epc"
)

// TestLargeEPC tests a node with 512 GiB of EPC, which is advertised in the node's
// status. Manifests of pods are the same as on any other node.
func TestLargeEPC(t *testing.T) {
	const all = "524288"
	upgrade(t, "simulatedEPC=512Gi", "simulatedDevice=/dev/null")
	forgetDevices(t)
	waitAllocatable(t, resource, all)
	waitAllocatable(t, enclave, slots)
	waitRollout(t, "sgx-quote-helper")

	small := newPod(t, "default", "epc-56000", limits{resource: "56000"})
	large := newPod(t, "default", "epc-200000", limits{resource: "200000"})
	small.waitReady(t)
	large.waitReady(t)
	t.Run("pods stay small", func(t *testing.T) {
		for _, p := range []pod{small, large} {
			size := len(kubectl(t, "get", "pod", p.name, "-o", "json"))
			t.Logf("%s: %d bytes", p.name, size)
			if size > 20_000 {
				t.Errorf("%s: the pod object has %d bytes, want at most 20000", p.name, size)
			}
		}
	})
	t.Run("EPC is counted", func(t *testing.T) {
		larger := newPod(t, "default", "epc-300000", limits{resource: "300000"})
		larger.waitUnschedulable(t, "Insufficient "+resource)
		large.delete(t)
		larger.waitReady(t)
	})
	t.Run("restricted pods get the device and the AESM directory", func(t *testing.T) {
		p := newPod(t, restricted(t), "epc", limits{resource: "10"})
		p.waitReady(t)
		p.checkDevice(t, "/dev/sgx_enclave", true)
		if info, err := os.Stat(p.path(t, "/var/run/aesmd")); err != nil || !info.IsDir() {
			t.Errorf("the AESM directory: %v", err)
		}
	})
	t.Run("pods survive a restart of the kubelet", func(t *testing.T) {
		before := small.container(t)
		start := time.Now()
		run(t, "", "bin/cluster", "restart", "kubelet")
		up := time.Since(start)
		newPod(t, "default", "epc-1000", limits{resource: "1000"}).waitReady(t)
		t.Logf("the kubelet was up after %s, a new pod with EPC after %s", up.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
		if after := small.container(t); after != before {
			t.Errorf("container %s before the restart, %s after", before, after)
		}
	})
	t.Run("the plugin survives a restart of the API server", func(t *testing.T) {
		state := func() string {
			plugin := pod{namespace, daemonPod(t, "sgx-device-plugin")}
			return fmt.Sprintf("%s %s registrations=%v", plugin.name, plugin.container(t),
				metrics(t, "sgx-device-plugin")[`sgx_device_plugin_registrations_total{resource="`+enclave+`"}`])
		}
		before := state()
		run(t, "", "bin/cluster", "restart", "kube-apiserver")
		if after := state(); after != before {
			t.Errorf("plugin %s before the restart, %s after", before, after)
		}
	})
	t.Run("the status writer restores the number", func(t *testing.T) {
		zeroEPC(t)
		start := time.Now()
		waitAllocatable(t, resource, all)
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("restored after %s, want at most 15s", took)
		} else {
			t.Logf("restored after %s", took.Round(time.Millisecond))
		}
	})
}

// zeroEPC sets the EPC in the node's status to 0.
func zeroEPC(t *testing.T) {
	t.Helper()
	none := `{"` + resource + `": "0"}`
	kubectl(t, "patch", "node", nodeName(t), "--subresource=status", "--type=merge", "--patch",
		`{"status": {"capacity": `+none+`, "allocatable": `+none+`}}`)
}

// forgetDevices has the node enter mode node soon: it waits until the devices are
// withdrawn, and restarts the kubelet without its checkpoint of devices, as on a new node.
// With the checkpoint, the kubelet releases the devices only 5 minutes after they were
// withdrawn.
func forgetDevices(t testing.TB) {
	t.Helper()
	waitReleasing(t)
	const checkpoint = "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint"
	for range 5 {
		if err := os.Remove(checkpoint); err != nil {
			t.Fatal(err)
		}
		run(t, "", "bin/cluster", "restart", "kubelet")
		text, err := os.ReadFile(checkpoint)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), `"`+resource+`"`) {
			return
		}
		// The kubelet has written it once more before it ended.
	}
	t.Fatal("the kubelet writes its checkpoint again each time")
}

// waitReleasing waits until the node's devices are withdrawn.
func waitReleasing(t testing.TB) {
	t.Helper()
	var a advertised.Advertisement
	for deadline := time.Now().Add(time.Minute); a.State != advertised.StateReleasing; time.Sleep(100 * time.Millisecond) {
		var err error
		if a, err = advertised.ReadAdvertisement(advertised.DefaultStateDir); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("the devices are not withdrawn: %+v", a)
		}
	}
}

// restricted creates a namespace with the Pod Security Standard "restricted" and
// returns its name. It deletes the namespace after the test.
func restricted(t *testing.T) string {
	t.Helper()
	const name = "e2e-restricted"
	kubectl(t, "delete", "namespace", name, "--ignore-not-found")
	run(t, `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "`+name+`", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}`,
		"kubectl", "create", "-f", "-")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", name, "--wait=false") })
	return name
}
