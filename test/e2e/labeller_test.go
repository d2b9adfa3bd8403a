package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	sgxLabel  = "confcom.github.io/sgx"
	sgxReason = "confcom.github.io/sgx-reason"
)

// labelOf returns the node's label and the reason for it.
func labelOf(t testing.TB) (label, reason string) {
	t.Helper()
	text := kubectl(t, "get", "node", nodeName(t), "-o", `jsonpath={.metadata.labels.confcom\.github\.io/sgx}|{.metadata.annotations.confcom\.github\.io/sgx-reason}`)
	label, reason, _ = strings.Cut(text, "|")
	return label, reason
}

// waitLabel waits for the label of the node and returns the reason for it.
func waitLabel(t testing.TB, want string, within time.Duration) string {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(200 * time.Millisecond) {
		label, reason := labelOf(t)
		if label == want && (reason != "" || want == "true") {
			return reason
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s, the label is %q and the reason is %q, want the label %q", within, label, reason, want)
		}
	}
}

// TestLabeller labels the node with the chart's own means. The other daemons run there, until
// the label is gone.
func TestLabeller(t *testing.T) {
	own := nodeName(t)
	before := chartValues(t)
	t.Cleanup(func() {
		install(t, before)
		waitAllocatable(t, resource, epc)
		waitRollout(t, "sgx-quote-helper")
	})
	desired := func(daemonSet string) string {
		return kubectl(t, "-n", namespace, "get", "daemonset", daemonSet, "-o", "jsonpath={.status.desiredNumberScheduled}")
	}

	t.Run("without SGX", func(t *testing.T) {
		install(t, before, "nodes=label", "platform=upstream", "aesmDir=/var/run/confcom-aesmd")
		waitRollout(t, "sgx-node-labeller")
		start := time.Now()
		reason := waitLabel(t, "", 30*time.Second)
		t.Logf("after %s: %s", time.Since(start).Round(time.Millisecond), reason)
		if !strings.Contains(reason, "the processor has ") {
			t.Errorf("the reason is %q", reason)
		}
		eventually(t, "no daemons on a node without SGX", func() bool { return desired("sgx-device-plugin") == "0" && desired("sgx-quote-helper") == "0" })
	})
	t.Run("with SGX", func(t *testing.T) {
		install(t, before, "nodes=label")
		waitRollout(t, "sgx-node-labeller")
		if reason := waitLabel(t, "true", 30*time.Second); reason != "64Mi of EPC is simulated" {
			t.Errorf("the reason is %q", reason)
		}
		eventually(t, "daemons on a node with SGX", func() bool { return desired("sgx-device-plugin") == "1" && desired("sgx-quote-helper") == "1" })
		waitAllocatable(t, resource, epc)
	})
	t.Run("a label that is removed comes back", func(t *testing.T) {
		start := time.Now()
		kubectl(t, "label", "node", own, sgxLabel+"-")
		waitLabel(t, "true", 20*time.Second)
		t.Logf("back after %s", time.Since(start).Round(time.Millisecond))
	})
	t.Run("the token is good for the label only", func(t *testing.T) {
		const other = "e2e-other-node"
		kubectl(t, "delete", "node", other, "--ignore-not-found")
		t.Cleanup(func() { kubectl(t, "delete", "node", other) })
		run(t, `{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "`+other+`"}}`, "kubectl", "create", "-f", "-")
		token := func(options ...string) apiClient {
			client := newAPIClient(t)
			client.token = strings.TrimSpace(kubectl(t, append([]string{"-n", namespace, "create", "token", "sgx-node-labeller"}, options...)...))
			return client
		}
		labeller, unbound := token("--bound-object-kind=Pod", "--bound-object-name="+daemonPod(t, "sgx-node-labeller")), token()
		const label = `{"metadata": {"labels": {"` + sgxLabel + `": "true"}}}`
		const only, ownOnly = "may change only the label", "may label its own node only"
		for _, c := range []struct {
			name   string
			client apiClient
			node   string
			patch  string
			status int
			want   string
		}{
			{"its label", labeller, own, label, http.StatusOK, ""},
			{"its reason", labeller, own, `{"metadata": {"annotations": {"` + sgxReason + `": "because"}}}`, http.StatusOK, ""},
			{"nothing", labeller, own, `{}`, http.StatusOK, ""},
			{"another node", labeller, other, label, http.StatusForbidden, ownOnly},
			{"without a pod", unbound, own, label, http.StatusForbidden, "its token is bound to none"},
			{"another label", labeller, own, `{"metadata": {"labels": {"a": "b"}}}`, http.StatusForbidden, only},
			{"a label of Kubernetes", labeller, own, `{"metadata": {"labels": {"kubernetes.io/os": null}}}`, http.StatusForbidden, only},
			{"all labels", labeller, own, `{"metadata": {"labels": null}}`, http.StatusForbidden, only},
			{"another annotation", labeller, own, `{"metadata": {"annotations": {"a": "b"}}}`, http.StatusForbidden, only},
			{"a finalizer", labeller, own, `{"metadata": {"finalizers": ["example.com/a"]}}`, http.StatusForbidden, only},
			{"an owner", labeller, own, `{"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "` + other + `", "uid": "1"}]}}`, http.StatusForbidden, only},
			{"a taint", labeller, own, `{"spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}}`, http.StatusForbidden, only},
			{"a cordon", labeller, own, `{"spec": {"unschedulable": true}}`, http.StatusForbidden, only},
			{"its status", labeller, own + "/status", `{"status": {"capacity": {"a.example/b": "1"}}}`, http.StatusForbidden, "cannot patch"},
		} {
			t.Run(c.name, func(t *testing.T) {
				status, answer := c.client.do(t, http.MethodPatch, "/api/v1/nodes/"+c.node, c.patch)
				if status != c.status || !strings.Contains(answer, c.want) {
					t.Errorf("status %d, want %d and %q:\n%s", status, c.status, c.want, answer)
				}
			})
		}
	})
	t.Run("another value removes the label", func(t *testing.T) {
		install(t, before)
		if label, reason := labelOf(t); label != "" || reason != "" {
			t.Errorf("the label is %q, the reason is %q", label, reason)
		}
		if left := kubectl(t, "get", "daemonsets,jobs,serviceaccounts,clusterroles,clusterrolebindings,validatingadmissionpolicies", "-A", "-o", "name"); strings.Contains(left, "label") {
			t.Errorf("left:\n%s", left)
		}
	})
	t.Run("helm uninstall removes the label", func(t *testing.T) {
		install(t, before, "nodes=label")
		waitLabel(t, "true", 30*time.Second)
		uninstall(t)
		if label, reason := labelOf(t); label != "" || reason != "" {
			t.Errorf("the label is %q, the reason is %q", label, reason)
		}
		installAgain(t, before)
	})
}
