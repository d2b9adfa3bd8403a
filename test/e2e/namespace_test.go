package e2e

import (
	"strings"
	"testing"
)

// TestNamespaceLabels lets the chart label its namespace, which it never deletes.
func TestNamespaceLabels(t *testing.T) {
	const labels = `namespaceLabels.pod-security\.kubernetes\.io/enforce=privileged`
	before := chartValues(t)
	label := func() string {
		return kubectl(t, "get", "namespace", namespace, "-o", `jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}`)
	}
	t.Cleanup(func() {
		install(t, before)
		kubectl(t, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce-", "app.kubernetes.io/managed-by-")
		kubectl(t, "annotate", "namespace", namespace, "meta.helm.sh/release-name-", "meta.helm.sh/release-namespace-", "helm.sh/resource-policy-")
	})
	upgrade := []string{"-n", namespace, "upgrade", "confcom", "charts/confcom", "--reset-values", "--values", "-", "--set", labels}
	if _, err := try(t, before, "helm", upgrade...); err == nil || !strings.Contains(err.Error(), "ownership") {
		t.Errorf("a namespace of somebody else is labelled: %v", err)
	}
	if got := label(); got != "" {
		t.Errorf("the label is %q", got)
	}
	run(t, before, "helm", append(upgrade, "--take-ownership")...)
	if got := label(); got != "privileged" {
		t.Errorf("the label is %q", got)
	}
	uninstall(t)
	if got := label(); got != "privileged" {
		t.Errorf("after the uninstallation, the label is %q", got)
	}
	run(t, before, "helm", "-n", namespace, "install", "confcom", "charts/confcom", "--values", "-", "--set", labels, "--take-ownership", "--create-namespace", "--wait", "--timeout", "2m")
	waitAllocatable(t, resource, epc)
}
