package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

const namespace = "confcom-system"

// run runs a command in the checkout and returns its standard output. If the
// command fails, so does the test.
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
	command := exec.Command(name, args...) // without the test's context, which is done when cleanups run commands
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

// exitCode returns the exit code of a command, from the error of try.
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

// allocatable returns the JSONPath of an allocatable resource in a node object.
func allocatable(resource string) string {
	return `{.status.allocatable.` + strings.ReplaceAll(resource, ".", `\.`) + `}`
}

// waitAllocatable waits until want of a resource is allocatable on every node.
func waitAllocatable(t testing.TB, resource, want string) {
	t.Helper()
	if _, err := try(t, "", "kubectl", "wait", "node", "--all", "--for=jsonpath="+allocatable(resource)+"="+want, "--timeout=60s"); err != nil {
		t.Fatalf("%v\nallocatable: %s", err, kubectl(t, "get", "nodes", "-o", "jsonpath={.items[*].status.allocatable}"))
	}
}

// nodeName returns the name of the cluster's only node.
func nodeName(t testing.TB) string {
	t.Helper()
	return kubectl(t, "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
}

// upgrade adds values to those that the chart is installed with. It restores the
// former values after the test.
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

// chartValues returns the values that the chart is installed with, as JSON.
func chartValues(t testing.TB) string {
	t.Helper()
	return run(t, "", "helm", "-n", namespace, "get", "values", "confcom", "-o", "json")
}

// install upgrades the chart to the JSON values base, overridden by values.
func install(t testing.TB, base string, values ...string) {
	t.Helper()
	args := []string{"-n", namespace, "upgrade", "confcom", "charts/confcom", "--reset-values", "--values", "-"}
	if len(values) > 0 {
		args = append(args, "--set", strings.Join(values, ","))
	}
	run(t, base, "helm", args...)
	waitRollout(t, "sgx-device-plugin")
}

// waitRollout waits until all pods of a DaemonSet of the chart are up to date.
func waitRollout(t testing.TB, daemonSet string) {
	t.Helper()
	if _, err := try(t, "", "kubectl", "-n", namespace, "rollout", "status", "daemonset/"+daemonSet, "--timeout=60s"); err != nil {
		t.Fatalf("%v\n%s", err, kubectl(t, "-n", namespace, "describe", "pods", "-l", "app.kubernetes.io/name="+daemonSet))
	}
}

// daemonPod returns the name of the only pod of a DaemonSet of the chart.
func daemonPod(t testing.TB, name string) string {
	t.Helper()
	waitRollout(t, name)
	return kubectl(t, "-n", namespace, "get", "pods", "-l", "app.kubernetes.io/name="+name,
		"--field-selector=status.phase=Running", "-o", "jsonpath={.items[0].metadata.name}")
}

// get returns the page at a path of the port on which a DaemonSet's pod serves
// health and metrics.
func get(t testing.TB, name, path string) string {
	t.Helper()
	return kubectl(t, "get", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+daemonPod(t, name)+"/proxy"+path)
}

// metrics returns the samples of a DaemonSet's pod, by metric name and labels.
func metrics(t testing.TB, name string) map[string]float64 {
	t.Helper()
	text := get(t, name, "/metrics")
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
