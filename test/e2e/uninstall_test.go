package e2e

import (
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// installAgain installs the chart with the JSON values base, overridden by values, and
// waits until it is ready.
func installAgain(t testing.TB, base string, values ...string) {
	t.Helper()
	args := []string{"-n", namespace, "install", "confcom", "charts/confcom", "--values", "-", "--wait", "--timeout", "2m"}
	if len(values) > 0 {
		args = append(args, "--set", strings.Join(values, ","))
	}
	if _, err := try(t, base, "helm", args...); err != nil {
		t.Fatalf("%v\n%s", err, kubectl(t, "-n", namespace, "describe", "pods"))
	}
}

// uninstall uninstalls the chart. If the test ends before the chart is installed again, it
// is installed as it was.
func uninstall(t testing.TB) {
	t.Helper()
	base := chartValues(t)
	t.Cleanup(func() {
		if _, err := try(t, "", "helm", "-n", namespace, "status", "confcom"); err != nil {
			installAgain(t, base)
		}
	})
	run(t, "", "helm", "-n", namespace, "uninstall", "confcom")
}

// TestReinstall installs the chart again right after it was uninstalled, several times.
// CONFCOM_E2E_REINSTALLS is how many times.
func TestReinstall(t *testing.T) {
	times := 2
	if text := os.Getenv("CONFCOM_E2E_REINSTALLS"); text != "" {
		var err error
		if times, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	base := chartValues(t)
	m := &matrix{base: base}
	t.Cleanup(func() { m.ensure(t, true, false) })
	for _, mode := range []struct {
		name, epc string
		node      bool
		values    []string
	}{
		{"devices", epc, false, nil},
		{"node", nodeEPC, true, []string{nodeValues}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			if mode.node {
				long(t)
			}
			m.ensure(t, true, mode.node)
			pods := observe(t)
			var slowest time.Duration
			for range times {
				uninstall(t)
				// Kubernetes deletes the pods later.
				if left := kubectl(t, "-n", namespace, "get", "daemonsets,jobs,serviceaccounts", "-l", "app.kubernetes.io/part-of=confcom", "-o", "name"); left != "" {
					t.Errorf("left: %s", left)
				}
				if left := kubectl(t, "get", "nodes", "-o", "jsonpath={.items[*].status.conditions[*].type}"); strings.Contains(left, "SGX") {
					t.Errorf("conditions of the node: %s", left)
				}
				began := time.Now()
				installAgain(t, base, mode.values...)
				waitAllocatable(t, resource, mode.epc)
				quotingPod(t, "reinstall")
				slowest = max(slowest, time.Since(began))
			}
			if failed := pods.failures(); len(failed) > 0 {
				t.Errorf("failed pods: %q", failed)
			}
			t.Logf("installed again %d times, each time with a quote after at most %s", times, slowest.Round(100*time.Millisecond))
		})
	}
}

// TestUninstallInModeNode checks that no number stays in the status of a node without
// anything that gives the device to pods.
func TestUninstallInModeNode(t *testing.T) {
	const all = "524288"
	base := chartValues(t)
	upgrade(t, "simulatedEPC=512Gi")
	forgetDevices(t)
	waitAllocatable(t, resource, all)
	began := time.Now()
	uninstall(t)
	t.Logf("uninstalled in %s", time.Since(began).Round(100*time.Millisecond))
	for _, kind := range []string{"clusterroles", "clusterrolebindings", "validatingadmissionpolicies", "mutatingadmissionpolicies"} {
		if left := kubectl(t, "get", kind, "-l", "app.kubernetes.io/part-of=confcom", "-o", "name"); left != "" {
			t.Errorf("left: %s", left)
		}
	}
	if left := kubectl(t, "-n", namespace, "get", "daemonsets,jobs,serviceaccounts", "-l", "app.kubernetes.io/part-of=confcom", "-o", "name"); left != "" {
		t.Errorf("left: %s", left)
	}
	eventually(t, "all pods have gone", func() bool { return kubectl(t, "-n", namespace, "get", "pods", "-o", "name") == "" })
	capacity := strings.Replace(allocatable(resource), "allocatable", "capacity", 1)
	if left := kubectl(t, "get", "nodes", "-o", "jsonpath={range .items[*]}"+allocatable(resource)+capacity+"{end}"); left != "" {
		t.Errorf("EPC in the status of the node: %s", left)
	}
	newPod(t, "default", "no-epc", limits{resource: "1"}).waitUnschedulable(t, "Insufficient "+resource)
	installAgain(t, base)
	waitAllocatable(t, resource, epc)
}

// TestUninstallIsBounded checks that 'helm uninstall' fails soon if its job cannot run, that
// 'helm rollback' then restores confcom, and that 'helm uninstall' succeeds without the job.
func TestUninstallIsBounded(t *testing.T) {
	base := chartValues(t)
	run(t, base, "helm", "-n", namespace, "upgrade", "confcom", "charts/confcom", "--reset-values", "--values", "-", "--set", "nodeResource.image.tag=missing,nodeResource.image.pullPolicy=Never")
	t.Cleanup(func() { install(t, base) })
	began := time.Now()
	_, err := try(t, "", "helm", "-n", namespace, "uninstall", "confcom", "--timeout", "4m")
	took := time.Since(began)
	if err == nil || !strings.Contains(err.Error(), "confcom-uninstall") || took > 3*time.Minute {
		t.Fatalf("after %s: %v", took, err)
	}
	t.Logf("failed after %s: %v", took.Round(time.Second), err)
	kubectl(t, "-n", namespace, "get", "daemonset", "sgx-device-plugin", "sgx-quote-helper")
	if left := kubectl(t, "get", "clusterrole,clusterrolebinding", "confcom-uninstall", "--ignore-not-found", "-o", "name"); left != "" {
		t.Errorf("the job's permissions are left: %s", left)
	}
	// A job that fails later has already deleted these.
	kubectl(t, "delete", "clusterrolebinding", "sgx-node-resource")
	kubectl(t, "-n", namespace, "delete", "daemonset", "sgx-device-plugin")
	run(t, "", "helm", "-n", namespace, "rollback", "confcom", strconv.Itoa(releaseVersion(t)))
	kubectl(t, "get", "clusterrolebinding", "sgx-node-resource")
	kubectl(t, "-n", namespace, "get", "daemonset", "sgx-device-plugin")
	began = time.Now()
	run(t, "", "helm", "-n", namespace, "uninstall", "confcom", "--no-hooks", "--wait", "--timeout", "2m")
	t.Logf("uninstalled without hooks in %s", time.Since(began).Round(100*time.Millisecond))
	installAgain(t, base)
	waitAllocatable(t, resource, epc)
}

// releaseVersion returns the last revision of the release.
func releaseVersion(t testing.TB) int {
	t.Helper()
	var release struct{ Version int }
	if err := json.Unmarshal([]byte(run(t, "", "helm", "-n", namespace, "status", "confcom", "-o", "json")), &release); err != nil {
		t.Fatal(err)
	}
	return release.Version
}

// TestSecondRelease checks that a second release is refused, with the name of the first.
func TestSecondRelease(t *testing.T) {
	for _, args := range [][]string{{"second", "-n", namespace}, {"confcom", "-n", "e2e-second", "--create-namespace"}} {
		_, err := try(t, "", "helm", append([]string{"install", "--set", "platform=simulated", "--dry-run=server", args[0], "charts/confcom"}, args[1:]...)...)
		if err == nil || !strings.Contains(err.Error(), "confcom is already installed in this cluster: release confcom in the namespace "+namespace) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// TestOtherPluginInstalled checks that a known plugin for the same resources is refused, with
// what to do.
func TestOtherPluginInstalled(t *testing.T) {
	for _, tt := range []struct {
		namespace, name string
		values          string
		want            string // in the error; "" for none
	}{
		{"kube-system", "sgx-plugin", "logLevel=info", "az aks disable-addons --addons confcom"},
		{"kube-system", "sgx-plugin", "epc.resource=example.com/epc", ""},
		{"default", "intel-sgx-plugin", "compat.plugins=null", "--set enclave.resource=confcom.github.io/enclave"},
		{"default", "intel-sgx-plugin", "enclave.resource=confcom.github.io/enclave", "--set 'compat.plugins={alibaba,aks}'"},
		{"default", "intel-sgx-plugin", "enclave.resource=confcom.github.io/enclave,compat.plugins={alibaba}", ""},
		{"default", "intel-sgx-plugin", "epc.advertise=devices,epc.writer=none,compat.plugins=null", ""},
		{"default", "intel-sgx-plugin", "epc.advertise=devices,epc.writer=none,provision.enabled=true,compat.plugins=null", "advertises sgx.intel.com/provision as well"},
		{"default", "sgx-plugin", "logLevel=info", ""},
	} {
		labels := object{"e2e": "other-plugin"}
		remove := func() {
			kubectl(t, "-n", tt.namespace, "delete", "daemonset", tt.name, "--ignore-not-found", "--cascade=foreground")
		}
		remove()
		create(t, object{"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": object{"name": tt.name, "namespace": tt.namespace}, "spec": object{
			"selector": object{"matchLabels": labels},
			"template": object{"metadata": object{"labels": labels}, "spec": object{
				"nodeSelector": object{"no": "node"}, // it needs no pods
				"containers":   []any{object{"name": "main", "image": "x"}},
			}},
		}})
		_, err := try(t, "", "helm", "-n", namespace, "upgrade", "confcom", "charts/confcom", "--reuse-values", "--dry-run=server", "--set", tt.values)
		remove()
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s/%s with %s: %v, want %q", tt.namespace, tt.name, tt.values, err, tt.want)
		}
	}
}

// TestUninstallJobIsRestricted checks that the job of 'helm uninstall' runs under the Pod
// Security Standard "restricted".
func TestUninstallJobIsRestricted(t *testing.T) {
	manifest := run(t, "", "helm", "-n", namespace, "template", "confcom", "charts/confcom", "--set", "platform=simulated", "--kube-version", "1.37", "--show-only", "templates/uninstall.yaml")
	objects := json.NewDecoder(strings.NewReader(run(t, manifest, "kubectl", "create", "--dry-run=client", "-o", "json", "-f", "-")))
	for {
		var job struct {
			Kind string
			Spec struct{ Template object }
		}
		if err := objects.Decode(&job); err == io.EOF {
			t.Fatal("the chart has no job")
		} else if err != nil {
			t.Fatal(err)
		}
		if job.Kind != "Job" {
			continue
		}
		spec, ok := job.Spec.Template["spec"].(object)
		if !ok {
			t.Fatalf("the job has no pod: %v", job.Spec.Template)
		}
		spec["serviceAccountName"] = "default" // its own exists only while it runs
		text, err := json.Marshal(object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "uninstall", "namespace": restricted(t)}, "spec": spec})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the pod is admitted", func() bool { // once the namespace has its service account
			_, err := try(t, string(text), "kubectl", "create", "--dry-run=server", "-f", "-")
			if err != nil && strings.Contains(err.Error(), "PodSecurity") {
				t.Fatal(err)
			}
			return err == nil
		})
		return
	}
}
