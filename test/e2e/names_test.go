package e2e

import (
	"strings"
	"testing"
)

// TestAnyName installs the chart under names of the greatest length, in a namespace of its
// own.
func TestAnyName(t *testing.T) {
	release, space := strings.Repeat("r", 53), strings.Repeat("n", 63) // limits of Helm and Kubernetes
	setAside(t)
	helm := func(args ...string) (string, error) {
		return try(t, "", "helm", append([]string{"-n", space}, args...)...)
	}
	t.Cleanup(func() {
		if _, err := helm("uninstall", release, "--wait", "--timeout", "2m"); err != nil {
			t.Error(err)
		}
		kubectl(t, "delete", "namespace", space)
	})
	if _, err := helm("install", release, "charts/confcom", "--set", "platform=simulated,provision.enabled=true", "--create-namespace", "--wait", "--timeout", "2m"); err != nil {
		t.Fatalf("%v\n%s", err, kubectl(t, "-n", space, "describe", "pods"))
	}
	waitAllocatable(t, resource, epc)
	if output, err := helm("test", release, "--logs", "--timeout", "2m"); err != nil || !strings.Contains(output, "the installation works") {
		t.Errorf("%v\n%s", err, output)
	}
	_, err := try(t, "", "helm", "install", "confcom", "charts/confcom", "-n", "default", "--set", "platform=simulated", "--dry-run=server")
	if want := "release " + release + " in the namespace " + space; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a second release: %v, want %q", err, want)
	}
}

// TestIdleWithoutSGX installs the quote helper for hardware on a node without SGX: it is
// ready and does nothing, and 'helm test' says that no node has EPC.
func TestIdleWithoutSGX(t *testing.T) {
	upgrade(t, "platform=dcap", "nodes=all", "dcap.image.repository=localhost/confcom/sgx-quote-helper") // Intel's libraries are not used here
	waitRollout(t, helper)
	waitAllocatable(t, resource, "0")
	if output, err := helmTest(t); err == nil || !strings.Contains(strings.Join(strings.Fields(err.Error()), " "), helper+" ok: 1 of 1 pods are ready") {
		t.Errorf("helm test: %v\n%s", err, output)
	}
}
