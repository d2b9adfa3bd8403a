package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const namespace = "confcom-system"

// run runs a command in the checkout and returns its standard output. It ends
// the test when the command fails.
func run(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	output, err := try(t, stdin, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// try runs a command in the checkout and returns its standard output.
func try(t testing.TB, stdin, name string, args ...string) (string, error) {
	t.Helper()
	command := exec.Command(name, args...) // not with the test's context: Cleanup uses it, too
	command.Dir = root
	command.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, output, &stderr)
	}
	return string(output), err
}

func kubectl(t testing.TB, args ...string) string {
	t.Helper()
	return run(t, "", "kubectl", args...)
}

// exitCode returns the exit code behind an error of try.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// allocatable is the place of a resource in a node object, for kubectl.
func allocatable(resource string) string {
	return `{.status.allocatable.` + strings.ReplaceAll(resource, ".", `\.`) + `}`
}

// waitAllocatable waits until each node has this much of a resource to give.
func waitAllocatable(t testing.TB, resource, want string) {
	t.Helper()
	if _, err := try(t, "", "kubectl", "wait", "node", "--all", "--for=jsonpath="+allocatable(resource)+"="+want, "--timeout=60s"); err != nil {
		t.Fatalf("%v\nallocatable: %s", err, kubectl(t, "get", "nodes", "-o", "jsonpath={.items[*].status.allocatable}"))
	}
}

// nodeName is the name of the cluster's one node.
func nodeName(t testing.TB) string {
	t.Helper()
	return kubectl(t, "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
}

// upgrade installs the chart with other values, on top of those it has. It is
// with those again after the test.
func upgrade(t testing.TB, values ...string) {
	t.Helper()
	before := chartValues(t)
	t.Cleanup(func() {
		install(t, before)
		waitAllocatable(t, resource, epc)
		waitRollout(t, "sgx-quote-helper")
	})
	install(t, before, values...)
}

// chartValues are the values that the chart is installed with, as JSON.
func chartValues(t testing.TB) string {
	t.Helper()
	return run(t, "", "helm", "-n", namespace, "get", "values", "confcom", "-o", "json")
}

// install installs the chart with values as JSON and others on top of them.
func install(t testing.TB, base string, values ...string) {
	t.Helper()
	args := []string{"-n", namespace, "upgrade", "confcom", "charts/confcom", "--reset-values", "--values", "-"}
	if len(values) > 0 {
		args = append(args, "--set", strings.Join(values, ","))
	}
	run(t, base, "helm", args...)
	waitRollout(t, "sgx-device-plugin")
}

// waitRollout waits until all pods of a DaemonSet of the chart are as it is.
func waitRollout(t testing.TB, daemonSet string) {
	t.Helper()
	if _, err := try(t, "", "kubectl", "-n", namespace, "rollout", "status", "daemonset/"+daemonSet, "--timeout=60s"); err != nil {
		t.Fatalf("%v\n%s", err, kubectl(t, "-n", namespace, "describe", "pods", "-l", "app.kubernetes.io/name="+daemonSet))
	}
}

// daemon returns the name of the one pod of a DaemonSet of the chart.
func daemon(t testing.TB, name string) string {
	t.Helper()
	waitRollout(t, name)
	return kubectl(t, "-n", namespace, "get", "pods", "-l", "app.kubernetes.io/name="+name,
		"--field-selector=status.phase=Running", "-o", "jsonpath={.items[0].metadata.name}")
}

// ask returns what a DaemonSet's pod says at a path of its port for health and
// metrics.
func ask(t testing.TB, name, path string) string {
	t.Helper()
	return kubectl(t, "get", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+daemon(t, name)+":8080/proxy"+path)
}

// metrics returns what a DaemonSet's pod tells Prometheus, by name and labels.
func metrics(t testing.TB, name string) map[string]float64 {
	t.Helper()
	text := ask(t, name, "/metrics")
	samples := make(map[string]float64)
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		space := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || space < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil {
			t.Fatalf("metrics of %s: %q: %v", name, line, err)
		}
		samples[line[:space]] = value
	}
	return samples
}

// limits are resource limits of a container.
type limits map[string]string

// pod is a pod with one container.
type pod struct{ namespace, name string }

// newPod creates a pod that does nothing, which is deleted after the test. It is
// one that the Pod Security Standard "restricted" allows.
func newPod(t testing.TB, namespace, name string, limits limits) pod {
	t.Helper()
	return createPod(t, namespace, name, podSpec("confcom.invalid/pause:local", limits)) // the test cluster's own image
}

// object is a part of a manifest.
type object = map[string]any

// podSpec is one that the Pod Security Standard "restricted" allows.
func podSpec(image string, limits limits, args ...string) object {
	return object{
		"containers": []any{object{
			"name":            "main",
			"image":           image,
			"args":            args,
			"imagePullPolicy": "Never",
			"resources":       object{"limits": limits},
			"securityContext": object{"allowPrivilegeEscalation": false, "capabilities": object{"drop": []string{"ALL"}}},
		}},
		"securityContext":               object{"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": object{"type": "RuntimeDefault"}},
		"automountServiceAccountToken":  false,
		"terminationGracePeriodSeconds": 0,
	}
}

// createPod creates a pod, which is deleted after the test.
func createPod(t testing.TB, namespace, name string, spec object) pod {
	t.Helper()
	p := pod{namespace, name}
	p.delete(t) // of a run that was interrupted
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

// get returns a part of the pod object, all of it with "{}".
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

// waitUnschedulable waits until the scheduler says why it has no node for the
// pod.
func (p pod) waitUnschedulable(t testing.TB, why string) {
	t.Helper()
	kubectl(t, "-n", p.namespace, "wait", "pod/"+p.name, "--for=condition=PodScheduled=false", "--timeout=30s")
	if message := p.get(t, `{.status.conditions[?(@.type=="PodScheduled")].message}`); !strings.Contains(message, why) {
		t.Errorf("%s is unschedulable because of %q", p.name, message)
	}
}

// container says which container of the pod runs, and how often there was
// another before it.
func (p pod) container(t testing.TB) string {
	t.Helper()
	return p.get(t, "{.status.containerStatuses[0].containerID} restarts={.status.containerStatuses[0].restartCount}")
}

// path is where this machine sees a file of the pod's running container.
func (p pod) path(t testing.TB, path string) string {
	t.Helper()
	id := containerID(p.get(t, "{.status.containerStatuses[0].containerID}"))
	processes := processesOf(t, id)
	if len(processes) == 0 {
		t.Fatalf("%s has no running container %q", p.name, id)
	}
	return filepath.Join("/proc", strconv.Itoa(processes[0]), "root", path)
}

// containerID is the ID in a container's name, as the status of its pod has it.
func containerID(name string) string { return strings.TrimPrefix(name, "containerd://") }

// processesOf are the processes of a container on this machine, which is the
// cluster's node.
func processesOf(t testing.TB, container string) (processes []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		// A process may have ended meanwhile.
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

// checkDevice checks that the pod's container has a character device, or
// nothing, at a path.
func (p pod) checkDevice(t testing.TB, path string, want bool) {
	t.Helper()
	info, err := os.Lstat(p.path(t, path))
	if got := err == nil && info.Mode()&os.ModeCharDevice != 0; got != want {
		t.Errorf("%s: character device %s: %v, want %v: %v", p.name, path, got, want, err)
	}
}
