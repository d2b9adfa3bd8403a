package e2e

import (
	"encoding/json"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// nodeDirs are the directories of a node in which the chart's pods may leave something.
var nodeDirs = []string{
	"/var/run/confcom", "/var/run/aesmd", "/var/run/cdi", "/etc/kubernetes/node-feature-discovery",
	"/var/lib/kubelet/device-plugins", "/var/lib/kubelet/pod-resources", "/var/lib/kubelet/plugins_registry",
}

// staying is what docs/how-to/uninstall.md says that an uninstallation leaves, and why.
var staying = []string{
	"node capacity confcom.github.io/quote-helper", "node capacity " + enclave, "node capacity " + resource, "node capacity sgx.intel.com/provision",
	"file /var/run/aesmd", "file /var/run/aesmd/aesm.socket.targets",
	"file /var/run/cdi", "file /var/run/cdi/confcom-sgx.json",
	"file /var/run/confcom",
}

// ours matches what an installation may have made, also an earlier one; staysAnyway is what
// has such a name without it.
var (
	ours        = regexp.MustCompile(`confcom|sgx|aesm`)
	staysAnyway = []string{
		"Node /confcom-node", "CSINode /confcom-node",
		"Namespace /" + namespace, "ServiceAccount " + namespace + "/default", "ConfigMap " + namespace + "/kube-root-ca.crt",
	}
)

// seen returns what there is that an installation could add: the objects of the cluster, the
// resources and conditions in the status of the node, and files of the node.
func seen(t *testing.T) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	var kinds []string
	for kind := range strings.FieldsSeq(kubectl(t, "api-resources", "--verbs=list", "-o", "name")) {
		switch kind {
		case "events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses":
		default:
			kinds = append(kinds, kind)
		}
	}
	for line := range strings.Lines(kubectl(t, "get", strings.Join(kinds, ","), "-A", "-o", `jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\n"}{end}`)) {
		found[strings.TrimSpace(line)] = true
	}
	var node struct {
		Status struct {
			Capacity   map[string]string
			Conditions []struct{ Type string }
		}
		Metadata struct{ Labels, Annotations map[string]string }
	}
	if err := json.Unmarshal([]byte(kubectl(t, "get", "node", nodeName(t), "-o", "json")), &node); err != nil {
		t.Fatal(err)
	}
	for name := range node.Status.Capacity {
		found["node capacity "+name] = true
	}
	for _, c := range node.Status.Conditions {
		found["node condition "+c.Type] = true
	}
	for name := range node.Metadata.Labels {
		found["node label "+name] = true
	}
	for name := range node.Metadata.Annotations {
		found["node annotation "+name] = true
	}
	for _, dir := range nodeDirs {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && filepath.Base(path) != "kubelet_internal_checkpoint" { // the kubelet's own
				found["file "+path] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// TestUninstallLeaves installs all that the chart has and uninstalls it. What is left is what
// the documentation says, and nothing else.
func TestUninstallLeaves(t *testing.T) {
	setAside(t)
	if _, err := try(t, "", "kubectl", "create", "namespace", namespace); err != nil {
		eventually(t, "the former installation has gone", func() bool {
			return kubectl(t, "-n", namespace, "get", "pods", "-o", "name") == ""
		})
	}
	before := seen(t)
	run(t, "", "helm", "-n", namespace, "install", "confcom", "charts/confcom", "--wait", "--timeout", "2m", "--set",
		"platform=simulated,simulatedDevice=/dev/null,devicePlugin.cdi=true,provision.enabled=true,enclave.requireEPC=true,verifier.enabled=true,verifier.policy.anyEnclave=true")
	waitAllocatable(t, resource, epc)
	quotingPod(t, "leftovers")
	if _, err := helmTest(t); err != nil {
		t.Error(err)
	}
	kubectl(t, "-n", "default", "delete", "pod", "leftovers")
	during := seen(t)
	run(t, "", "helm", "-n", namespace, "uninstall", "confcom", "--wait", "--timeout", "2m")

	left := func() []string {
		after := seen(t)
		maps.DeleteFunc(after, func(name string, _ bool) bool {
			return slices.Contains(staying, name) || before[name] && (!ours.MatchString(name) || slices.Contains(staysAnyway, name))
		})
		return slices.Sorted(maps.Keys(after))
	}
	if len(during) < len(before)+20 {
		t.Errorf("an installation adds only %d things: this test does not see them", len(during)-len(before))
	}
	var last []string
	defer func() {
		if t.Failed() {
			t.Errorf("left: %q", last)
		}
	}()
	eventually(t, "nothing is left but what is documented", func() bool { last = left(); return len(last) == 0 })
	after := seen(t)
	for _, name := range staying {
		t.Logf("documented to stay: %s: %v", name, after[name])
	}
}
