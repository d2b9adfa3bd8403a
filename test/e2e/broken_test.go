package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/confcom/confcom/internal/backend/dcap/dcaptest"
)

// broken is what does not work: the installation or, if it has a name, a pod that uses it.
type broken struct {
	pod
	created string // what kubectl printed when it created the pod
}

// questions are what an administrator asks about it, in this order.
var questions = []struct {
	name string
	ask  func(t *testing.T, b broken) string
}{
	{"kubectl create", func(_ *testing.T, b broken) string { return b.created }},
	{"helm test", func(t *testing.T, _ broken) string { return examine(t) }},
	{"the conditions of the node", func(t *testing.T, _ broken) string {
		return kubectl(t, "get", "nodes", "-o", `jsonpath={range .items[*].status.conditions[*]}{.type} {.status} {.reason}: {.message}{"\n"}{end}`)
	}},
	{"confcom top", func(t *testing.T, _ broken) string {
		return run(t, "", "bin/confcom", "top", "--once", "--interval=1s")
	}},
	{"kubectl describe pod", func(t *testing.T, b broken) string {
		if b.name == "" {
			return kubectl(t, "-n", namespace, "describe", "pods")
		}
		return kubectl(t, "-n", b.namespace, "describe", "pod", b.name)
	}},
	{"confcom doctor", func(t *testing.T, b broken) string {
		at := []string{"-n", namespace, "exec", "ds/" + helper}
		if b.name != "" {
			at = []string{"-n", b.namespace, "exec", b.name}
		}
		output, err := try(t, "", "kubectl", append(at, "--", "/confcom", "doctor")...)
		if err != nil {
			output += err.Error() // with what it printed
		}
		return output
	}},
}

// createBroken creates a pod, which is deleted after the test.
func createBroken(t *testing.T, spec object) broken {
	t.Helper()
	b := broken{pod: pod{"default", "broken"}}
	b.delete(t) // an interrupted run may have left it
	t.Cleanup(func() { b.delete(t) })
	manifest, err := json.Marshal(object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": b.name, "namespace": b.namespace}, "spec": spec})
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("kubectl", "create", "-f", "-")
	command.Stdin = bytes.NewReader(manifest)
	output, err := command.CombinedOutput() // warnings are on the standard error output
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	b.created = string(output)
	return b
}

// examine does what 'helm test' does, but does not wait for what does not hold yet, and
// returns what that prints.
func examine(t *testing.T) string {
	t.Helper()
	var pods []string
	var rest strings.Builder
	for document := range strings.SplitSeq(run(t, "", "helm", "-n", namespace, "get", "hooks", "confcom"), "\n---\n") {
		switch {
		case !strings.Contains(document, "\n    helm.sh/hook: test\n"):
		case strings.Contains(document, "\nkind: Pod\n"):
			pods = append(pods, strings.Replace(document, "    - installation\n", "    - installation\n    - --timeout=1s\n", 1))
		default:
			fmt.Fprintf(&rest, "\n---\n%s", document)
		}
	}
	if len(pods) != 2 || !strings.Contains(pods[0]+pods[1], "--timeout=1s") {
		t.Fatalf("the pods of helm test are others: %s", pods)
	}
	run(t, rest.String(), "kubectl", "apply", "-f", "-")
	defer run(t, rest.String(), "kubectl", "delete", "--wait=false", "-f", "-")
	var output strings.Builder
	for _, p := range []pod{{namespace, "confcom-test"}, {namespace, "confcom-test-quote"}} {
		p.delete(t)
		defer p.delete(t)
		for _, manifest := range pods {
			if strings.Contains(manifest, "\n  name: "+p.name+"\n") {
				run(t, manifest, "kubectl", "create", "-f", "-")
			}
		}
		if _, err := try(t, "", "kubectl", "-n", namespace, "wait", "pod/"+p.name, "--for=jsonpath={.status.containerStatuses[0].state.terminated}", "--timeout=30s"); err != nil {
			t.Fatalf("%v\n%s", err, kubectl(t, "-n", namespace, "describe", "pod", p.name))
		}
		output.WriteString(kubectl(t, "-n", namespace, "logs", p.name))
		if p.get(t, "{.status.containerStatuses[0].state.terminated.exitCode}") != "0" {
			break
		}
	}
	return output.String()
}

// change upgrades the chart with values that need not work, and restores the former ones after
// the test.
func change(t *testing.T, values ...string) {
	t.Helper()
	before := chartValues(t)
	t.Cleanup(func() {
		install(t, before)
		waitRollout(t, helper)
		waitRollout(t, "sgx-node-resource")
		waitAllocatable(t, resource, epc)
	})
	run(t, before, "helm", "-n", namespace, "upgrade", "confcom", "charts/confcom", "--reset-values", "--values", "-", "--set", strings.Join(values, ","))
}

// restart replaces the pods of a DaemonSet of the chart.
func restart(t *testing.T, daemon string) {
	t.Helper()
	kubectl(t, "-n", namespace, "rollout", "restart", "daemonset/"+daemon)
	waitRollout(t, daemon)
}

// makeDevice makes a device of the node that can stand in for that of SGX, until the test ends
// or remove is called.
func makeDevice(t *testing.T, mode uint32) (device string, remove func()) {
	t.Helper()
	const path = "/dev/confcom-e2e"
	remove = func() {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
	}
	remove() // an interrupted run may have left it
	t.Cleanup(remove)
	if err := unix.Mknod(path, unix.S_IFCHR|mode, int(unix.Mkdev(1, 3))); err != nil { // as /dev/null
		t.Fatal(err)
	}
	if err := os.Chmod(path, os.FileMode(mode)); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path, remove
}

// TestBroken breaks an installation in one way after the other, and asks what an administrator
// would ask. The first answer that has the cause is the one that the table of
// docs/how-to/diagnose.md names. What other tests break is in that table as well.
func TestBroken(t *testing.T) {
	none := broken{}
	pause := func(limits limits) object { return podSpec("confcom.invalid/pause:local", limits) }
	for _, tt := range []struct {
		name string
		who  string // names the cause
		want string // the cause
		does func(t *testing.T) broken
	}{
		{"an image that is not in the registry", "helm test", "ErrImagePull", func(t *testing.T) broken {
			r := startRegistry(t)
			change(t, "quoteHelper.image.repository="+r.host+"/confcom/"+helper, "quoteHelper.image.digest=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
			return none
		}},
		{"no node has the label of SGX nodes", "helm test", "DESIRED is 0: Kubernetes finds no node on which its pods may run -> the chart's value nodes is 'sgx'", func(t *testing.T) broken {
			const terms = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0]."
			upgrade(t, terms+"key=no", terms+"operator=Exists")
			return none
		}},
		{"an admission policy is missing", "helm test", "sgx-enclave-with-epc FAILED: the MutatingAdmissionPolicyBinding does not exist -> restore it with 'helm upgrade'", func(t *testing.T) broken {
			upgrade(t)
			kubectl(t, "delete", "mutatingadmissionpolicybinding", "sgx-enclave-with-epc")
			return none
		}},
		{"a DaemonSet is missing", "helm test", "sgx-node-resource FAILED: does not exist -> restore it with 'helm upgrade'", func(t *testing.T) broken {
			upgrade(t)
			kubectl(t, "-n", namespace, "delete", "daemonset", "sgx-node-resource")
			return none
		}},
		{"the kubelet has another directory", "helm test", "k0s", func(t *testing.T) broken {
			change(t, "devicePluginDir=/var/lib/k0s/kubelet/device-plugins")
			return none
		}},
		{"the namespace is restricted", "helm test", "violates PodSecurity", func(t *testing.T) broken {
			const label = "pod-security.kubernetes.io/enforce"
			kubectl(t, "label", "namespace", namespace, label+"=baseline")
			t.Cleanup(func() {
				kubectl(t, "label", "namespace", namespace, label+"-")
				restart(t, helper)
			})
			kubectl(t, "-n", namespace, "delete", "pods", "-l", "app.kubernetes.io/name="+helper)
			return none
		}},
		{"a directory is where the socket belongs", "helm test", "is a directory", func(t *testing.T) broken {
			socket := filepath.Join(aesmDir, "aesm.socket")
			if err := os.Remove(socket); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(socket, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := os.Remove(socket); err != nil {
					t.Error(err)
				}
				restart(t, helper)
			})
			return none
		}},
		{"nobody but root may enter the socket's directory", "helm test", "permission denied", func(t *testing.T) broken {
			info, err := os.Stat(aesmDir)
			if err != nil {
				t.Fatal(err)
			}
			set := func(mode os.FileMode) {
				if err := os.Chmod(aesmDir, mode); err != nil {
					t.Error(err)
				}
			}
			t.Cleanup(func() { set(info.Mode()) })
			set(0o700)
			return none
		}},
		{"no daemon upstream", "helm test", "no such file or directory", func(t *testing.T) broken {
			change(t, "platform=upstream", "upstream.dir="+t.TempDir(), "aesmDir="+t.TempDir(), "nodes=all")
			return none
		}},
		{"the daemon may not write the status of its node", "helm test", "forbidden", func(t *testing.T) broken {
			upgrade(t)
			kubectl(t, "delete", "clusterrolebinding", "sgx-node-resource")
			return none
		}},
		{"the device has gone", "helm test", "/dev/confcom-e2e", func(t *testing.T) broken {
			device, remove := makeDevice(t, 0o666)
			change(t, "simulatedDevice="+device)
			waitRollout(t, "sgx-device-plugin")
			remove()
			// Until then, containers that get EPC wait for the device, and 'helm test' for its own.
			kubectl(t, "-n", namespace, "wait", "pod", "-l", "app.kubernetes.io/name=sgx-device-plugin", "--for=condition=Ready=false", "--timeout=60s")
			return none
		}},
		{"a pod's user may not open the device", "confcom doctor", "permission denied", func(t *testing.T) broken {
			device, _ := makeDevice(t, 0o600)
			change(t, "simulatedDevice="+device)
			waitRollout(t, "sgx-device-plugin")
			waitAllocatable(t, resource, epc)
			b := createBroken(t, podSpec(confcom, limits{resource: "1"}, "bench", "--clients=1", "--duration=1h"))
			b.waitReady(t)
			return b
		}},
		{"a pod requests more EPC than any node has", "kubectl describe pod", "Insufficient " + resource, func(t *testing.T) broken {
			return createBroken(t, pause(limits{resource: "65"}))
		}},
		{"a pod requests EPC in bytes", "kubectl create", "the unit is MiB", func(t *testing.T) broken {
			return createBroken(t, pause(limits{resource: "10Mi"}))
		}},
		{"a pod wants quotes and has no EPC", "kubectl create", "has SGX_AESM_ADDR and no limit on " + resource, func(t *testing.T) broken {
			spec := pause(nil)
			spec["containers"].([]any)[0].(object)["env"] = []any{object{"name": "SGX_AESM_ADDR", "value": "1"}}
			return createBroken(t, spec)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { checkDiagnosis(t, tt.does(t), tt.who, tt.want) })
	}
	t.Run("with workers", testBrokenDCAP)
}

// testBrokenDCAP breaks the helper's workers, with the stand-in for Intel's libraries.
func testBrokenDCAP(t *testing.T) {
	loadDCAPImage(t)
	faults := dcaptest.Faults(t.TempDir())
	upgrade(t, "platform=dcap", "dcap.simulatedHardware=true", "simulatedEPC=76Mi", "simulatedDevice=/dev/null", // 12 MiB are the helper's
		"dcap.provider.pccsURL=https://pccs.example/sgx/certification/v4/",
		"quoteHelper.extraEnv[0].name=DCAPTEST_FAULTS", "quoteHelper.extraEnv[0].value=/faults",
		"quoteHelper.extraVolumes[0].name=faults", "quoteHelper.extraVolumes[0].hostPath.path="+string(faults),
		"quoteHelper.extraVolumeMounts[0].name=faults", "quoteHelper.extraVolumeMounts[0].mountPath=/faults")
	waitRollout(t, helper)
	fault := func(mode string) func(t *testing.T) {
		return func(t *testing.T) {
			f, err := faults.Inject(dcaptest.Config, "sticky-"+mode)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := f.Cancel(); err != nil {
					t.Error(err)
				}
			})
			// A new pod has no certificates.
			kubectl(t, "-n", namespace, "delete", "pods", "-l", "app.kubernetes.io/name="+helper)
		}
	}
	for _, tt := range []struct {
		name, who, want string
		does            func(t *testing.T)
	}{
		{"the platform is not registered", "helm test", "the certificate service does not know this platform: register it", fault("status-461")},
		{"nothing answers at the address of the PCCS", "helm test", "the certificate service is unreachable", fault("curl-7")},
		{"the configuration of the quote provider has a placeholder", "confcom doctor", "placeholder", func(t *testing.T) {
			const name = "e2e-provider"
			kubectl(t, "-n", namespace, "delete", "configmap", name, "--ignore-not-found")
			kubectl(t, "-n", namespace, "create", "configmap", name, `--from-literal=sgx_default_qcnl.conf={"pccs_url": "https://<pccs-ip>:8081/sgx/certification/v4/"}`)
			t.Cleanup(func() { kubectl(t, "-n", namespace, "delete", "configmap", name) })
			upgrade(t, "dcap.provider.pccsURL=", "dcap.provider.file.configMap="+name)
			fault("curl-6")(t)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.does(t)
			checkDiagnosis(t, broken{}, tt.who, tt.want)
		})
	}
}

// checkDiagnosis asks all questions up to that which names a cause. The others must not name
// it: the first one that does is documented.
func checkDiagnosis(t *testing.T, b broken, who, want string) {
	t.Helper()
	began := time.Now()
	for _, question := range questions {
		if question.name != who {
			if answer := question.ask(t, b); strings.Contains(words(answer), want) {
				t.Errorf("%s has the cause already:\n%s", question.name, answer)
			} else if os.Getenv("CONFCOM_E2E_ANSWERS") != "" {
				t.Logf("%s:\n%s", question.name, answer)
			}
			continue
		}
		var answer string
		defer func() {
			if t.Failed() || os.Getenv("CONFCOM_E2E_ANSWERS") != "" {
				t.Logf("%s, after %s:\n%s", who, seconds(time.Since(began)), answer)
			}
		}()
		eventually(t, who+" has the cause "+want, func() bool {
			answer = question.ask(t, b)
			return strings.Contains(words(answer), want)
		})
		return
	}
	t.Fatalf("nobody asks %s", who)
}
