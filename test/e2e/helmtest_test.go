package e2e

import (
	"strings"
	"testing"
)

// helmTest runs 'helm test' and returns what it prints.
func helmTest(t *testing.T) (string, error) {
	t.Helper()
	output, err := try(t, "", "helm", "-n", namespace, "test", "confcom", "--logs", "--timeout", "2m")
	if left := kubectl(t, "-n", namespace, "get", "pods,serviceaccounts,roles,rolebindings,networkpolicies", "-l", "app.kubernetes.io/name=confcom-test", "-o", "name"); left != "" {
		t.Errorf("left of the test: %s", left)
	}
	if left := kubectl(t, "get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/name=confcom-test", "-o", "name"); left != "" {
		t.Errorf("left of the test: %s", left)
	}
	return strings.Join(strings.Fields(output), " "), err // the text is wrapped
}

// TestHelmTest checks that 'helm test' passes on an installation that works, and fails on one
// that does not. TestBroken has more of these.
func TestHelmTest(t *testing.T) {
	const noNode = "DESIRED is 0: Kubernetes finds no node on which its pods may run -> the chart's value nodes is 'sgx'"
	for _, tt := range []struct {
		name     string
		sabotage func(t *testing.T)
		want     []string
	}{
		{"works", func(*testing.T) {},
			[]string{"sgx-quote-helper ok: 1 of 1 pods are ready", "sgx-enclave-with-epc ok: in force", "EPC ok: 1 of 1 nodes advertise 64 MiB in all", "the installation works", "SIMULATED quotes of"}},
		{"the quote helper is scaled away", func(t *testing.T) {
			patch := func(selector string) {
				kubectl(t, "-n", namespace, "patch", "daemonset", helper, "--type=merge", "-p", `{"spec":{"template":{"spec":{"nodeSelector":`+selector+`}}}}`)
			}
			patch(`{"no":"node"}`)
			t.Cleanup(func() { patch("null"); waitRollout(t, helper) })
		}, []string{"FAILED", helper + " FAILED: " + noNode, "sgx-device-plugin ok:"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.sabotage(t)
			output, err := helmTest(t)
			if (err != nil) != (tt.name != "works") {
				t.Errorf("helm test: %v", err)
			}
			if err != nil { // with what was printed
				output += strings.Join(strings.Fields(err.Error()), " ")
			}
			for _, want := range tt.want {
				if !strings.Contains(output, want) {
					t.Errorf("helm test prints:\n%s\nwithout: %s", output, want)
				}
			}
		})
	}
}
