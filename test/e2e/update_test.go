package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

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
