package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// TestPluginUpdate checks that the node never loses its EPC while one plugin replaces
// another.
func TestPluginUpdate(t *testing.T) {
	watch := exec.Command("kubectl", "get", "node", nodeName(t), "--watch", "-o", "jsonpath="+allocatable(resource)+` `+allocatable(enclave)+`{"\n"}`)
	var seen strings.Builder
	watch.Stdout = &seen
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	before := daemonPod(t, "sgx-device-plugin")
	kubectl(t, "-n", namespace, "rollout", "restart", "daemonset/sgx-device-plugin")
	after := daemonPod(t, "sgx-device-plugin")
	kubectl(t, "-n", namespace, "wait", "pod/"+before, "--for=delete", "--timeout=60s")
	// Once a later pod runs, the kubelet has handled all that happened before.
	newPod(t, "default", "after-update", limits{resource: "10"}).waitReady(t)
	if err := watch.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = watch.Wait() // fails because it was killed

	if before == after {
		t.Errorf("the restart did not replace the plugin %s", after)
	}
	states := strings.Fields(strings.ReplaceAll(seen.String(), " ", "/"))
	if len(states) == 0 {
		t.Error("kubectl reported no state of the node")
	}
	for _, state := range states {
		if state != epc+"/"+slots {
			t.Errorf("allocatable was %s in one of the states %q, want %s/%s", state, states, epc, slots)
			break
		}
	}
}
