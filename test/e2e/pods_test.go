package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// limits are the resource limits of a container.
type limits map[string]string

// pod is a pod with one container.
type pod struct{ namespace, name string }

// newPod creates a pod that does nothing, and deletes it after the test. The Pod
// Security Standard "restricted" allows the pod.
func newPod(t testing.TB, namespace, name string, limits limits) pod {
	t.Helper()
	return createPod(t, namespace, name, podSpec("confcom.invalid/pause:local", limits)) // the test cluster's own image
}

// object is a mapping in a manifest.
type object = map[string]any

// podSpec returns the spec of a pod with one container, which the Pod Security
// Standard "restricted" allows.
func podSpec(image string, limits limits, args ...string) object {
	return object{
		"containers": []any{object{
			"name":            "main",
			"image":           image,
			"args":            args,
			"imagePullPolicy": "IfNotPresent",
			"resources":       object{"limits": limits},
			"securityContext": object{"allowPrivilegeEscalation": false, "capabilities": object{"drop": []string{"ALL"}}},
		}},
		"securityContext":               object{"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": object{"type": "RuntimeDefault"}},
		"automountServiceAccountToken":  false,
		"terminationGracePeriodSeconds": 0,
	}
}

// createPod creates a pod, and deletes it after the test.
func createPod(t testing.TB, namespace, name string, spec object) pod {
	t.Helper()
	p := pod{namespace, name}
	p.delete(t) // an interrupted run may have left it
	t.Cleanup(func() { p.delete(t) })
	create(t, object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name, "namespace": namespace}, "spec": spec})
	return p
}

func create(t testing.TB, manifest object) {
	t.Helper()
	text, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	run(t, string(text), "kubectl", "create", "-f", "-")
}

func (p pod) delete(t testing.TB) {
	t.Helper()
	kubectl(t, "-n", p.namespace, "delete", "pod", p.name, "--ignore-not-found", "--timeout=30s")
}

// get returns the part of the pod object at a JSONPath.
func (p pod) get(t testing.TB, path string) string {
	t.Helper()
	return kubectl(t, "-n", p.namespace, "get", "pod", p.name, "-o", "jsonpath="+path)
}

func (p pod) waitReady(t testing.TB) {
	t.Helper()
	if _, err := try(t, "", "kubectl", "-n", p.namespace, "wait", "pod/"+p.name, "--for=condition=Ready", "--timeout=30s"); err != nil {
		t.Fatalf("%v\n%s", err, kubectl(t, "-n", p.namespace, "describe", "pod", p.name))
	}
}

// waitUnschedulable waits until the scheduler finds no node for the pod, and checks
// its reason.
func (p pod) waitUnschedulable(t testing.TB, why string) {
	t.Helper()
	kubectl(t, "-n", p.namespace, "wait", "pod/"+p.name, "--for=condition=PodScheduled=false", "--timeout=30s")
	if message := p.get(t, `{.status.conditions[?(@.type=="PodScheduled")].message}`); !strings.Contains(message, why) {
		t.Errorf("%s: unschedulable: %q, want %q", p.name, message, why)
	}
}

// container identifies the pod's container and how often it has restarted.
func (p pod) container(t testing.TB) string {
	t.Helper()
	return p.get(t, "{.status.containerStatuses[0].containerID} restarts={.status.containerStatuses[0].restartCount}")
}

// path returns the path on this machine of a file in the pod's running container.
func (p pod) path(t testing.TB, path string) string {
	t.Helper()
	id := containerID(p.get(t, "{.status.containerStatuses[0].containerID}"))
	processes := processesOf(t, id)
	if len(processes) == 0 {
		t.Fatalf("%s: container %q has no process", p.name, id)
	}
	return filepath.Join("/proc", strconv.Itoa(processes[0]), "root", path)
}

// containerID returns the ID in a container's name, as the pod's status gives it.
func containerID(name string) string { return strings.TrimPrefix(name, "containerd://") }

// processesOf returns the processes of a container on this machine, which is the
// cluster's node.
func processesOf(t testing.TB, container string) (processes []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		// The process may have exited since the listing.
		if cgroups, err := os.ReadFile(file); err == nil && strings.Contains(string(cgroups), container) {
			process, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				t.Fatal(err)
			}
			processes = append(processes, process)
		}
	}
	return processes
}

// checkDevice checks that the pod's container has a character device at a path, or
// that it has none.
func (p pod) checkDevice(t testing.TB, path string, want bool) {
	t.Helper()
	info, err := os.Lstat(p.path(t, path))
	if got := err == nil && info.Mode()&os.ModeCharDevice != 0; got != want {
		t.Errorf("%s: character device %s: %v, want %v: %v", p.name, path, got, want, err)
	}
}
