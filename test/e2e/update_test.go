package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
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

// TestHelperUpdateEvictsNobody updates the quote helper on a node whose EPC is all in use.
// The second helper needs room, but an application must not make it.
func TestHelperUpdateEvictsNobody(t *testing.T) {
	for _, tt := range []struct {
		platform string
		reserved int // MiB for the helper's enclaves
		values   []string
	}{
		{"simulated", 0, nil},
		{"dcap", 12, []string{"platform=dcap", "dcap.simulatedHardware=true", "simulatedDevice=/dev/null", "dcap.provider.pccsURL=https://pccs.example/sgx/certification/v4/"}},
	} {
		t.Run(tt.platform, func(t *testing.T) {
			if tt.platform == "dcap" {
				loadDCAPImage(t)
			}
			upgrade(t, tt.values...)
			waitAllocatable(t, resource, fmt.Sprint(64-tt.reserved))
			waitRollout(t, helper)
			full := newPod(t, "default", "full", limits{resource: fmt.Sprint(64 - tt.reserved - 1)})
			full.waitReady(t)
			startClients(t, 1) // with the last MiB
			const identity = "{.metadata.uid} {.status.phase} {.metadata.deletionTimestamp}"
			application, preempted := full.get(t, identity), preemptions(t)

			before := daemonPod(t, helper)
			began := time.Now()
			kubectl(t, "-n", namespace, "rollout", "restart", "daemonset/"+helper)
			after := daemonPod(t, helper)
			kubectl(t, "-n", namespace, "wait", "pod/"+before, "--for=delete", "--timeout=60s")
			took := time.Since(began).Round(100 * time.Millisecond)
			if before == after {
				t.Errorf("the restart did not replace the helper %s", after)
			}
			if got := full.get(t, identity); got != application {
				t.Errorf("the application is %s, was %s", got, application)
			}
			if got := preemptions(t); got != preempted {
				t.Errorf("preempted: %s", got)
			}
			for _, result := range endClients(t, 1) {
				if result.Failed != 0 || result.Requests == 0 {
					t.Errorf("the client failed: %+v", result)
				}
				t.Logf("two helpers for less than %s; %d quotes, %d failed", took, result.Requests, result.Failed)
			}
		})
	}
}

// TestRollback checks that 'helm upgrade --wait' reports an update that cannot work, that
// nobody misses a quote meanwhile, and that 'helm rollback' returns to what worked.
func TestRollback(t *testing.T) {
	base := chartValues(t)
	t.Cleanup(func() { install(t, base); waitRollout(t, helper) })
	before := daemonPod(t, helper)
	startClients(t, 1)
	_, err := try(t, base, "helm", "-n", namespace, "upgrade", "confcom", "charts/confcom", "--reset-values", "--values", "-",
		"--set", "quoteHelper.image.tag=missing,quoteHelper.image.pullPolicy=Never", "--wait", "--timeout", "20s")
	if err == nil {
		t.Error("helm upgrade --wait succeeds with an image that does not exist")
	}
	run(t, "", "helm", "-n", namespace, "rollback", "confcom", "--wait", "--timeout", "1m")
	if after := daemonPod(t, helper); after != before {
		t.Errorf("the helper is %s, was %s", after, before)
	}
	for _, result := range endClients(t, 1) {
		if result.Failed != 0 || result.Requests == 0 {
			t.Errorf("the client failed: %+v", result)
		}
		t.Logf("%d quotes, %d failed", result.Requests, result.Failed)
	}
}

// preemptions returns the pods that the scheduler has evicted to make room.
func preemptions(t *testing.T) string {
	t.Helper()
	return kubectl(t, "get", "events", "--all-namespaces", "--field-selector=reason=Preempted", "-o", "jsonpath={.items[*].involvedObject.name}")
}
