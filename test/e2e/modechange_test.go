package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// releaseTimeout exceeds the time that a kubelet takes to release devices.
const releaseTimeout = 7 * time.Minute

// long skips a test that takes minutes, most of them until a kubelet has released devices,
// unless it was asked for.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("CONFCOM_E2E_LONG") == "" {
		t.Skip("NOT RUN: takes minutes; set CONFCOM_E2E_LONG=1")
	}
}

// TestDevicesToNode checks that a node goes from mode devices to mode node, and back,
// without losing a pod.
func TestDevicesToNode(t *testing.T) {
	const all = "524288"
	before := failedPods(t)
	client := newPod(t, "default", "mode-client", limits{resource: "10"})
	client.waitReady(t)
	upgrade(t, "simulatedEPC=512Gi", "simulatedDevice=/dev/null")
	waitCondition(t, "PodsHoldDevices", "True")
	if message := condition(t, "message"); !strings.Contains(message, "1 pod (default/mode-client) holds such devices") {
		t.Errorf("condition: %s", message)
	}
	waitAllocatable(t, resource, "8192") // as many devices as a kubelet can handle
	newPod(t, "default", "mode-while-held", limits{resource: "10"}).waitReady(t)
	(pod{"default", "mode-while-held"}).delete(t)
	checkEvent(t, "PodsHoldDevices")
	if restarted := client.container(t); !strings.HasSuffix(restarted, "restarts=0") {
		t.Errorf("the pod that holds devices: %s", restarted)
	}
	if now := failedPods(t); now != before {
		t.Errorf("failed pods: %s, before: %s", now, before)
	}

	long(t)
	deploy(t, "mode-churn", 3)
	kubectl(t, "-n", "default", "rollout", "status", "deployment/mode-churn", "--timeout=60s")
	kubectl(t, "-n", "default", "scale", "deployment/mode-churn", "--replicas=0")
	client.delete(t)
	start := time.Now()
	waitCondition(t, "KubeletReleasesDevices", "False")
	closed := time.Now()
	waitReleasing(t) // pods that come earlier may still be given devices, and hold the node
	kubectl(t, "-n", "default", "scale", "deployment/mode-churn", "--replicas=3")
	waitAdmission(t, all, start)
	kubectl(t, "-n", "default", "rollout", "status", "deployment/mode-churn", "--timeout=60s")
	t.Logf("from the end of the last pod with devices: closing after %s, new pods run after %s, seconds without admission %.0f",
		closed.Sub(start).Round(time.Second), time.Since(start).Round(time.Second), time.Since(closed).Seconds())
	waitCondition(t, "NodeStatus", "True")
	checkEvent(t, "NodeStatus")

	install(t, chartValues(t), "simulatedEPC=64Mi")
	waitCondition(t, "PodsUseNodeStatus", "True")
	start = time.Now()
	kubectl(t, "-n", "default", "scale", "deployment/mode-churn", "--replicas=0")
	waitAllocatable(t, resource, epc)
	waitCondition(t, "Devices", "True")
	t.Logf("back in mode devices %s after the last pod was asked to end", time.Since(start).Round(time.Second))
	if now := failedPods(t); now != before {
		t.Errorf("failed pods: %s, before: %s", now, before)
	}
}

// TestReinstallInModeNode checks that an installation in mode node, soon after one in
// mode devices was removed, costs no pod.
func TestReinstallInModeNode(t *testing.T) {
	long(t)
	before := failedPods(t)
	values := chartValues(t)
	t.Cleanup(func() {
		install(t, values)
		waitAllocatable(t, resource, epc)
		waitRollout(t, "sgx-quote-helper")
	})
	// A plugin that still runs would give the pods devices, which hold the node.
	run(t, "", "helm", "-n", namespace, "uninstall", "confcom", "--wait", "--cascade", "foreground")
	start := time.Now()
	run(t, values, "helm", "-n", namespace, "install", "confcom", "charts/confcom", "--values", "-",
		"--set", "simulatedEPC=512Gi,simulatedDevice=/dev/null,epc.advertise=node", "--wait", "--timeout", "90s")
	t.Logf("installed after %s", time.Since(start).Round(time.Second))
	deploy(t, "mode-reinstall", 3)
	waitCondition(t, "KubeletReleasesDevices", "False")
	waitAdmission(t, "524288", start)
	kubectl(t, "-n", "default", "rollout", "status", "deployment/mode-reinstall", "--timeout=60s")
	t.Logf("new pods run after %s", time.Since(start).Round(time.Second))
	if now := failedPods(t); now != before {
		t.Errorf("failed pods: %s, before: %s", now, before)
	}
	kubectl(t, "-n", "default", "scale", "deployment/mode-reinstall", "--replicas=0") // or it holds the node in mode node
}

// TestPolicies checks what a node in mode node does while the policies are missing or changed
// that give pods with EPC the device, and refuse those without: it says so within seconds,
// and advertises its EPC as long as no pod can be created without the device.
func TestPolicies(t *testing.T) {
	const (
		all     = "524288"
		name    = "sgx-enclave-with-epc"
		adding  = "mutatingadmissionpolicy"
		refuses = "validatingadmissionpolicy"
	)
	upgrade(t, "simulatedEPC=512Gi", "simulatedDevice=/dev/null")
	forgetDevices(t)
	waitAllocatable(t, resource, all)
	waitCondition(t, "NodeStatus", "True")
	values := chartValues(t)
	runs := newPod(t, "default", "runs", limits{resource: "10"})
	runs.waitReady(t)
	container := runs.container(t)
	for _, tt := range []struct {
		name           string
		commands       [][]string
		reason, status string
		epc            string
		pod            string // what becomes of a new one: "runs", "is refused" or "waits"
		long           bool   // not in the short form
	}{
		{"nothing adds the device", [][]string{{"delete", adding, name}}, "PolicyMissing", "False", all, "is refused", false},
		{"nothing is bound that adds it", [][]string{{"delete", adding + "binding", name}}, "PolicyMissing", "False", all, "is refused", true},
		{"it is added to other pods", [][]string{{"patch", adding, name, "--type=merge", "-p", `{"spec": {"matchConstraints": {"objectSelector": {"matchLabels": {"some": "other"}}}}}`}}, "PolicyChanged", "False", all, "is refused", false},
		{"it is bound to other pods", [][]string{{"patch", adding + "binding", name, "--type=merge", "-p", `{"spec": {"matchResources": {"objectSelector": {"matchLabels": {"some": "other"}}}}}`}}, "PolicyChanged", "False", all, "is refused", true},
		{"another failure policy", [][]string{{"patch", adding, name, "--type=merge", "-p", `{"spec": {"failurePolicy": "Ignore"}}`}}, "PolicyChanged", "False", all, "runs", true},
		{"nothing refuses pods", [][]string{{"delete", refuses + "binding", name}}, "PolicyMissing", "True", all, "runs", true},
		{"violations are only reported", [][]string{{"patch", refuses + "binding", name, "--type=merge", "-p", `{"spec": {"validationActions": ["Warn"]}}`}}, "PolicyChanged", "True", all, "runs", true},
		{"neither", [][]string{{"delete", adding, name}, {"delete", refuses, name}}, "PolicyMissing", "False", "0", "waits", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long {
				long(t)
			}
			start := time.Now()
			for _, command := range tt.commands {
				kubectl(t, command...)
			}
			waitCondition(t, tt.reason, tt.status)
			t.Logf("%s after %s: %s", tt.reason, time.Since(start).Round(100*time.Millisecond), condition(t, "message"))
			checkEvent(t, tt.reason)
			waitAllocatable(t, resource, tt.epc)
			eventually(t, "sgx-node-resource is not ready", func() bool {
				return kubectl(t, "-n", namespace, "get", "pods", "-l", "app.kubernetes.io/name=sgx-node-resource", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`) == "False"
			})
			if wrong := kubectl(t, "get", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+kubectl(t, "-n", namespace, "get", "pods", "-l", "app.kubernetes.io/name=sgx-node-resource", "-o", "jsonpath={.items[0].metadata.name}")+"/proxy/metrics"); !strings.Contains(wrong, "sgx_node_resource_policy_missing 1") {
				t.Error("the metric sgx_node_resource_policy_missing is not 1")
			}
			next := pod{"default", "next"}
			text, err := json.Marshal(object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": next.name, "namespace": next.namespace}, "spec": podSpec("confcom.invalid/pause:local", limits{resource: "10"})})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { next.delete(t) })
			_, err = try(t, string(text), "kubectl", "create", "-f", "-")
			if (err != nil) != (tt.pod == "is refused") || err != nil && !strings.Contains(err.Error(), "needs "+enclave+" as well") {
				t.Errorf("a new pod: %v, want that it %s", err, tt.pod)
			}
			switch tt.pod {
			case "runs":
				next.waitReady(t)
				next.checkDevice(t, "/dev/sgx_enclave", true)
			case "waits":
				next.waitUnschedulable(t, "Insufficient "+resource)
			case "is refused":
				run(t, "", "bin/cluster", "restart", kubelet) // admits the pods that run again
				if now := runs.container(t); now != container {
					t.Errorf("the pod that runs is %s, was %s", now, container)
				}
			}
			next.delete(t)
			for _, command := range tt.commands { // as the condition says
				kubectl(t, "delete", command[1], name, "--ignore-not-found")
			}
			start = time.Now()
			install(t, values)
			upgraded := time.Since(start)
			waitCondition(t, "NodeStatus", "True")
			waitAllocatable(t, resource, all)
			t.Logf("all is well %s after the start of 'helm upgrade', which took %s", time.Since(start).Round(100*time.Millisecond), upgraded.Round(100*time.Millisecond))
		})
	}
	p := newPod(t, "default", "with-policies", limits{resource: "10"})
	p.waitReady(t)
	p.checkDevice(t, "/dev/sgx_enclave", true)
}

// condition returns a member of the node's condition.
func condition(t testing.TB, member string) string {
	t.Helper()
	return kubectl(t, "get", "node", nodeName(t), "-o", `jsonpath={.status.conditions[?(@.type=="SGXEPCAvailable")].`+member+`}`)
}

// waitCondition waits until the node's condition has a reason, and checks its status.
func waitCondition(t testing.TB, reason, status string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for condition(t, "reason") != reason {
		if time.Now().After(deadline) {
			t.Fatalf("condition %s after a minute, want %s: %s", condition(t, "reason"), reason, condition(t, "message"))
		}
		time.Sleep(300 * time.Millisecond)
	}
	if got := condition(t, "status"); got != status {
		t.Errorf("condition %s is %s, want %s", reason, got, status)
	}
}

// checkEvent checks that there is an event of the node.
func checkEvent(t testing.TB, reason string) {
	t.Helper()
	if events := kubectl(t, "-n", "default", "get", "events", "--field-selector=involvedObject.kind=Node,reason="+reason, "-o", "name"); events == "" {
		t.Errorf("the node has no event %s", reason)
	}
}

// failedPods returns the failed pods of all namespaces, with the reasons.
func failedPods(t testing.TB) string {
	t.Helper()
	return kubectl(t, "get", "pods", "-A", "--field-selector=status.phase=Failed", "-o", `jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {.status.reason}, {end}`)
}

// deploy creates pods with EPC that are replaced if they end, and deletes them after the
// test.
func deploy(t testing.TB, name string, replicas int) {
	t.Helper()
	kubectl(t, "-n", "default", "delete", "deployment", name, "--ignore-not-found")
	t.Cleanup(func() {
		kubectl(t, "-n", "default", "delete", "deployment", name, "--cascade=foreground", "--timeout=30s")
	})
	labels := object{"app": name}
	create(t, object{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": name, "namespace": "default"},
		"spec": object{"replicas": replicas, "selector": object{"matchLabels": labels},
			"template": object{"metadata": object{"labels": labels}, "spec": podSpec("confcom.invalid/pause:local", limits{resource: "10"})}},
	})
}

// waitAdmission waits until the node has all of its EPC, and logs each value that it had
// before, with the time since start.
func waitAdmission(t testing.TB, all string, start time.Time) {
	t.Helper()
	last := "unknown"
	for deadline := time.Now().Add(releaseTimeout); last != all; time.Sleep(300 * time.Millisecond) {
		if now := kubectl(t, "get", "node", nodeName(t), "-o", "jsonpath="+allocatable(resource)); now != last {
			t.Logf("%s: allocatable %s", time.Since(start).Round(100*time.Millisecond), now)
			last = now
		}
		if time.Now().After(deadline) {
			t.Fatalf("allocatable %s after %s", last, releaseTimeout)
		}
	}
}
