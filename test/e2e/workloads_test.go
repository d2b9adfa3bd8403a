package e2e

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// workloads are manifests that were written for other plugins. They are also what
// 'confcom manifest convert' is tested with.
const workloads = "internal/manifest/testdata/workloads"

const provision = "sgx.intel.com/provision"

// servedWorkloads is what the containers of these manifests have once they are pods.
func servedWorkloads() map[string]string {
	return map[string]string{
		"aks-engine-deployment.yaml":            "oe-app: 10 MiB, device",
		"aks-mib-job.yaml":                      "hello: 10 MiB, device",
		"aks-misspelt-job.yaml":                 "hello: 10 MiB, device",
		"aks-out-of-process-job.yaml":           "error: cannot unmarshal number into Go struct field EnvVar",
		"aks-quickstart-job.yaml":               "hello: 5 MiB, device",
		"alibaba-pod.yaml":                      "sgx-app: 20 MiB, device",
		"alibaba-privileged-deployment.yaml":    "fns: 2 MiB, device",
		"alibaba-socket-deployment.yaml":        "hello: 2 MiB, device",
		"data-shield-pod.yaml":                  "mariadb: nothing",
		"enclave-cc-pod.yaml":                   "hello: 600 MiB, device; virtual machine: 600Mi",
		"intel-aesmd-daemonset.yaml":            "aesmd: 1 MiB, device, AESM",
		"intel-aesmd-job.yaml":                  "quote-generator: 1 MiB, device, AESM",
		"intel-in-process-job.yaml":             "quote-generator: 1 MiB, device; other-enclave: 1 MiB, device",
		"intel-three-resources.yaml":            "app: 10 MiB, device, 1 " + provision,
		"kata-job.yaml":                         "init-sgx: nothing; hello: 1 MiB, device; virtual machine: 1Mi",
		"list.json":                             "main: 3 MiB, device, AESM",
		"marblerun-coordinator-deployment.yaml": "coordinator: 10 MiB, device, 1 " + provision,
		"marblerun-gramine-pod.yaml":            "gramine-marble: 10 MiB, device, AESM",
		"occlum-enclave-deployment.yaml":        "service: device",
		"occlum-spark-pod.yaml":                 "error: cannot unmarshal bool into Go struct field EnvVar",
		"scone-las-daemonset.yaml":              "las: 1 sgx.k8s.io/sgx",
		"ten-statefulset.yaml":                  "edb: 6144 MiB, device, 10 " + provision + "; enclave: nothing",
		"unequal-pod.yaml":                      "error: must be equal to " + resource + " limit of 64",
	}
}

// TestWorkloadsOfOthers creates the pods of manifests for other plugins, unchanged and
// converted, and checks what their containers have then.
func TestWorkloadsOfOthers(t *testing.T) {
	for _, name := range []string{"kata-clh", "enclave-cc"} {
		run(t, `{"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "`+name+`"}, "handler": "runc"}`, "kubectl", "apply", "-f", "-")
	}
	t.Cleanup(func() { kubectl(t, "delete", "runtimeclass", "kata-clh", "enclave-cc") })

	want := servedWorkloads()
	t.Run("unchanged", func(t *testing.T) { checkWorkloads(t, want, false) })

	inProcess := maps.Clone(want)
	inProcess["intel-in-process-job.yaml"] = "quote-generator: 1 MiB, device, 1 " + provision + "; other-enclave: 1 MiB, device"
	t.Run("converted", func(t *testing.T) {
		want := maps.Clone(inProcess)
		want["aks-out-of-process-job.yaml"] = "quoting: 10 MiB, device, AESM"
		want["occlum-spark-pod.yaml"] = "spark: 18432 MiB, device, 1 " + provision
		checkWorkloads(t, want, true)
	})
	t.Run("where pods may have the provision device", func(t *testing.T) {
		upgrade(t, "provision.enabled=true", "provision.namespaces={default}")
		want := maps.Clone(inProcess)
		want["intel-aesmd-daemonset.yaml"] = "aesmd: 1 MiB, device, AESM, 1 " + provision // the annotation names it
		checkWorkloads(t, want, false)
	})
	t.Run("where the device needs EPC", func(t *testing.T) {
		upgrade(t, "enclave.requireEPC=true")
		checkWorkload(t, "ten-statefulset.yaml", want["ten-statefulset.yaml"], false) // asks for ten devices
		checkWorkload(t, "occlum-enclave-deployment.yaml", "error: needs a limit on "+resource, false)
	})
	t.Run("in a namespace for manifests of AKS", func(t *testing.T) {
		upgrade(t, "provision.enabled=true", "provision.namespaces={default}", "compat.aks.namespaces={default}")
		for file, want := range map[string]string{
			"aks-mib-job.yaml":               "hello: 10 MiB, device, 1 " + provision,
			"aks-quickstart-job.yaml":        "hello: 5 MiB, device, 1 " + provision,
			"ten-statefulset.yaml":           "edb: 6144 MiB, device, 10 " + provision + "; enclave: nothing",
			"occlum-enclave-deployment.yaml": "service: device",
		} {
			checkWorkload(t, file, want, false)
		}
	})
}

// TestOptInToQuotes checks that the annotation has exactly the containers with EPC get their
// quotes from the node's quote helper, unless they decide themselves.
func TestOptInToQuotes(t *testing.T) {
	for annotation, want := range map[string]string{
		"confcom.github.io/quote-provider: aesmd": "init: 1 MiB, device, AESM; epc: 2 MiB, device, AESM; other: nothing; own: 3 MiB, device",
		"sgx.intel.com/quote-provider: aesmd":     "init: 1 MiB, device, AESM; epc: 2 MiB, device, AESM; other: nothing; own: 3 MiB, device",
		"confcom.github.io/quote-provider: other": "init: 1 MiB, device; epc: 2 MiB, device; other: nothing; own: 3 MiB, device",
		"example.com/quote-provider: aesmd":       "init: 1 MiB, device; epc: 2 MiB, device; other: nothing; own: 3 MiB, device",
	} {
		pod := `apiVersion: v1
kind: Pod
metadata:
  name: e2e-opt-in
  annotations: {` + annotation + `}
spec:
  initContainers:
  - {name: init, image: x, resources: {limits: {` + resource + `: 1}}}
  containers:
  - {name: epc, image: x, env: [{name: A, value: b}], resources: {limits: {` + resource + `: 2}}}
  - {name: other, image: x}
  - {name: own, image: x, env: [{name: SGX_AESM_ADDR, value: "0"}], resources: {limits: {` + resource + `: 3}}}
`
		if got := describeSGX(t, run(t, pod, "kubectl", "create", "--dry-run=server", "-o", "json", "-f", "-")); got != want {
			t.Errorf("%s:\n%s, want\n%s", annotation, got, want)
		}
	}
}

// TestDeviceOfZero checks that a limit on the device that is no device counts as none: a
// container with EPC has the device, however it writes the amount.
func TestDeviceOfZero(t *testing.T) {
	for _, name := range []string{resource, "sgx.intel.com/sgx_epc_mem_in_MiB"} {
		for _, zero := range []string{"0", "-0", "0k", "0e3", "0.000"} {
			pod := `apiVersion: v1
kind: Pod
metadata:
  name: e2e-zero
spec:
  initContainers:
  - {name: init, image: x, resources: {limits: {` + name + `: 1, ` + enclave + `: "` + zero + `"}}}
  containers:
  - {name: epc, image: x, resources: {limits: {` + name + `: 1e0, ` + enclave + `: "` + zero + `"}, requests: {` + enclave + `: 0}}}
  - {name: none, image: x, resources: {limits: {` + enclave + `: "` + zero + `"}}}
`
			want := "init: 1 MiB, device; epc: 1 MiB, device; none: 0 " + enclave
			if got := describeSGX(t, run(t, pod, "kubectl", "create", "--dry-run=server", "-o", "json", "-f", "-")); got != want {
				t.Errorf("%s and %s %s:\n%s, want\n%s", name, zero, enclave, got, want)
			}
		}
	}
}

// checkWorkloads checks all manifests for other plugins.
func checkWorkloads(t *testing.T, want map[string]string, converted bool) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(root, workloads))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		checkWorkload(t, file.Name(), want[file.Name()], converted)
	}
}

// checkWorkload checks what the pod of a manifest has once the API server has admitted it,
// without creating it. A policy that has just changed takes a moment to be in force.
func checkWorkload(t *testing.T, file, want string, converted bool) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, workloads, file))
	if err != nil {
		t.Fatal(err)
	}
	if converted {
		text = []byte(run(t, string(text), "bin/confcom", "manifest", "convert", "-"))
	}
	pod := podOf(t, string(text))
	var got string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		output, err := try(t, pod, "kubectl", "create", "--dry-run=server", "--validate=false", "-o", "json", "-f", "-")
		if err != nil {
			got = "error: " + err.Error()
		} else {
			got = describeSGX(t, output)
		}
		fault, isError := strings.CutPrefix(want, "error: ")
		if got == want || isError && err != nil && strings.Contains(got, fault) {
			return
		}
	}
	t.Errorf("%s:\n%s, want\n%s", file, got, want)
}

// podOf returns the pod that a controller makes of the first object in a manifest.
func podOf(t *testing.T, manifest string) string {
	t.Helper()
	var o struct {
		Kind           string
		Metadata, Spec json.RawMessage
	}
	unmarshal := func(text []byte, v any) {
		if err := json.Unmarshal(text, v); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	objects := run(t, manifest, "kubectl", "create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-")
	if err := json.NewDecoder(strings.NewReader(objects)).Decode(&o); err != nil {
		t.Fatalf("%v: %s", err, objects)
	}
	for o.Kind != "Pod" {
		var spec struct {
			Template    *struct{ Metadata, Spec json.RawMessage }
			JobTemplate *struct{ Spec json.RawMessage }
		}
		unmarshal(o.Spec, &spec)
		switch {
		case spec.Template != nil:
			o.Kind, o.Metadata, o.Spec = "Pod", spec.Template.Metadata, spec.Template.Spec
		case spec.JobTemplate != nil:
			o.Spec = spec.JobTemplate.Spec
		default:
			t.Fatalf("no pod in %s", manifest)
		}
	}
	metadata := make(object)
	if o.Metadata != nil {
		unmarshal(o.Metadata, &metadata)
	}
	metadata["name"], metadata["namespace"] = "e2e-workload", "default"
	var spec object
	unmarshal(o.Spec, &spec)
	if spec["restartPolicy"] == nil {
		spec["restartPolicy"] = "Always"
	}
	text, err := json.Marshal(object{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// describeSGX returns what the containers of a pod have of SGX: EPC, the device, the
// variable for quotes over AESM, and other resources.
func describeSGX(t *testing.T, text string) string {
	t.Helper()
	var pod struct {
		Metadata struct{ Annotations map[string]string }
		Spec     struct {
			InitContainers, Containers []struct {
				Name      string
				Env       []struct{ Name, Value string }
				Resources struct{ Limits, Requests map[string]string }
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &pod); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		var has []string
		if mib := c.Resources.Limits[resource]; mib != "" {
			has = append(has, mib+" MiB")
		}
		if c.Resources.Limits[enclave] == "1" {
			has = append(has, "device")
		}
		for _, e := range c.Env {
			if e.Name == "SGX_AESM_ADDR" && e.Value == "1" {
				has = append(has, "AESM")
			}
		}
		for _, name := range slices.Sorted(maps.Keys(c.Resources.Limits)) {
			if strings.Contains(name, "sgx") && name != resource && (name != enclave || c.Resources.Limits[name] != "1") {
				has = append(has, c.Resources.Limits[name]+" "+name)
			}
		}
		for name, request := range c.Resources.Requests {
			if strings.Contains(name, "sgx") && request != c.Resources.Limits[name] {
				has = append(has, fmt.Sprintf("request of %s %s unlike the limit", request, name))
			}
		}
		if has == nil {
			has = []string{"nothing"}
		}
		all = append(all, c.Name+": "+strings.Join(has, ", "))
	}
	if memory := pod.Metadata.Annotations["sgx.intel.com/epc"]; memory != "" {
		all = append(all, "virtual machine: "+memory)
	}
	return strings.Join(all, "; ")
}

// TestWebhookAddsEPC checks that a pod is served to which MarbleRun's webhook adds EPC, after
// the policy has seen the pod for the first time.
func TestWebhookAddsEPC(t *testing.T) {
	webhook := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			APIVersion, Kind string
			Request          struct {
				UID    string
				Object struct {
					Metadata struct{ Annotations map[string]string }
				}
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
		}
		// MarbleRun is configured for one of these plugins.
		name, amount := "sgx.intel.com/epc", "10Mi"
		if review.Request.Object.Metadata.Annotations["plugin"] == "azure" {
			name, amount = resource, "10"
		}
		patch, err := json.Marshal([]object{{"op": "add", "path": "/spec/containers/0/resources", "value": object{"limits": limits{name: amount}}}})
		if err != nil {
			t.Error(err)
		}
		if err := json.NewEncoder(w).Encode(object{"apiVersion": review.APIVersion, "kind": review.Kind,
			"response": object{"uid": review.Request.UID, "allowed": true, "patchType": "JSONPatch", "patch": patch}}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(webhook.Close)
	const name, label = "e2e-marblerun", "marblerun/marbletype"
	t.Cleanup(func() { kubectl(t, "delete", "mutatingwebhookconfiguration", name) })
	create(t, object{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": object{"name": name}, "webhooks": []any{object{
		"name":                    name + ".confcom.github.io",
		"clientConfig":            object{"url": webhook.URL, "caBundle": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: webhook.Certificate().Raw})},
		"objectSelector":          object{"matchExpressions": []any{object{"key": label, "operator": "Exists"}}},
		"rules":                   []any{object{"apiGroups": []string{""}, "apiVersions": []string{"v1"}, "operations": []string{"CREATE"}, "resources": []string{"pods"}}},
		"sideEffects":             "None",
		"admissionReviewVersions": []string{"v1"},
	}}})
	for _, plugin := range []string{"intel", "azure"} {
		pod := `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "e2e-marble", "labels": {"` + label + `": "t"}, "annotations": {"plugin": "` + plugin + `"}}, "spec": {"containers": [{"name": "marble", "image": "x"}]}}`
		var got string
		eventually(t, "the API server calls the webhook", func() bool {
			got = describeSGX(t, run(t, pod, "kubectl", "create", "--dry-run=server", "-o", "json", "-f", "-"))
			return got != "marble: nothing"
		})
		if want := "marble: 10 MiB, device"; got != want {
			t.Errorf("%s: %s, want %s", plugin, got, want)
		}
	}
}

// TestWarnings creates workloads that cannot work, and checks what their creators are told.
func TestWarnings(t *testing.T) {
	deployment := func(kind, pod string) string {
		return `{"apiVersion": "apps/v1", "kind": "` + kind + `", "metadata": {"name": "e2e-warnings"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": ` + pod + `}}}`
	}
	cronJob := func(pod string) string {
		return `{"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "e2e-warnings"}, "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": {"spec": ` +
			strings.Replace(pod, "{", `{"restartPolicy": "Never", `, 1) + `}}}}}`
	}
	pod := func(pod string) string {
		return `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "e2e-warnings"}, "spec": ` + pod + `}`
	}
	container := func(fields string) string { return `{"containers": [{"name": "main", "image": "x", ` + fields + `}]}` }
	const (
		epc       = `"resources": {"limits": {"` + resource + `": 1}}`
		variable  = `"env": [{"name": "SGX_AESM_ADDR", "value": "1"}]`
		noEPC     = "container main has SGX_AESM_ADDR and no limit on " + resource
		noDevice  = "asks for the provision device, which no node has: the chart value provision.enabled is false"
		provision = `"resources": {"limits": {"` + resource + `": 1, "` + provision + `": 1}}`
	)
	for name, tt := range map[string]struct {
		manifest string
		want     string // "" for no warning
	}{
		"EPC":                    {deployment("Deployment", container(epc+","+variable)), ""},
		"EPC of another plugin":  {deployment("DaemonSet", container(`"resources": {"limits": {"sgx.intel.com/epc": "1Mi"}},`+variable)), ""},
		"nothing":                {deployment("Deployment", container(`"tty": true`)), ""},
		"a placeholder":          {deployment("Deployment", container(`"resources": {"limits": {"sgx.intel.com/epc": "9223372036854775807"}}`)), "container main requests 9223372036854775807 of sgx.intel.com/epc, which is more EPC than any machine has, so no node is found for it: the unit is bytes"},
		"a placeholder in a pod": {pod(container(`"resources": {"limits": {"sgx.intel.com/epc": "9223372036854775807"}}`)), "which is more EPC than any machine has, so no node is found for it"}, // by its own name or by ours
		"bytes as MiB":           {deployment("Deployment", container(`"resources": {"limits": {"`+resource+`": "64Mi"}}`)), "which is more EPC than any machine has"},
		"as much as can be":      {deployment("Deployment", container(`"resources": {"limits": {"`+resource+`": "4Mi"}}`)), ""},
		"an unknown name":        {deployment("Deployment", container(`"resources": {"limits": {"intel.com/SGX_EPC": 1}}`)), "no node of this cluster has the resource intel.com/SGX_EPC: EPC is " + resource},
		"an unlike name":         {deployment("Deployment", container(`"resources": {"limits": {"example.com/recept": 1}}`)), ""},
		"the socket":             {pod(strings.Replace(container(epc), "{", `{"volumes": [{"name": "s", "hostPath": {"path": "/var/run/aesmd/aesm.socket"}}], `, 1)), "a volume mounts the AESM socket itself"},
		"the directory":          {pod(strings.Replace(container(epc), "{", `{"volumes": [{"name": "s", "hostPath": {"path": "/var/run/aesmd"}}], `, 1)), ""},
		"the variable alone":     {pod(container(variable)), noEPC},
		"the variable, device":   {pod(container(variable + `, "resources": {"limits": {"` + enclave + `": 1}}`)), ""},
		"the variable in a job":  {cronJob(container(variable)), noEPC},
		"an init container":      {pod(`{"initContainers": [{"name": "main", "image": "x", ` + variable + `}], "containers": [{"name": "b", "image": "x"}]}`), noEPC},
		"no provision device":    {deployment("DaemonSet", container(provision)), noDevice},
		"a user":                 {deployment("DaemonSet", container(provision+`, "securityContext": {"runAsUser": 1000}`)), "a container with the provision device does not run as root"},
		"a user without it":      {deployment("DaemonSet", container(epc+`, "securityContext": {"runAsUser": 1000}`)), ""},
		"aesmd":                  {strings.Replace(pod(`{"containers": [{"name": "aesmd", "image": "x", `+epc+`}]}`), `{"name"`, `{"annotations": {"sgx.intel.com/quote-provider": "aesmd"}, "name"`, 1), "the container aesmd is Intel's daemon for quotes"},
		"in process":             {strings.Replace(pod(container(epc)), `{"name"`, `{"annotations": {"sgx.intel.com/quote-provider": "main"}, "name"`, 1), noDevice},
		"a pod of a controller":  {strings.Replace(pod(container(variable)), `{"name"`, `{"ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true}], "name"`, 1), ""},
		"unequal, by Kubernetes": {deployment("Deployment", container(`"resources": {"limits": {"`+resource+`": 2}, "requests": {"`+resource+`": 1}}`)), "must be equal to " + resource + " limit of 2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := try(t, tt.manifest, "kubectl", "create", "--dry-run=server", "--warnings-as-errors", "-f", "-")
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("the provision device elsewhere", func(t *testing.T) {
		upgrade(t, "provision.enabled=true", "provision.namespaces={a}")
		_, err := try(t, deployment("Deployment", container(provision)), "kubectl", "create", "--dry-run=server", "--warnings-as-errors", "-f", "-")
		if want := "pods of the namespace default may not have the provision device"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	})
	// What a cluster before Kubernetes 1.36 says, whose policy only warns.
	t.Run("before Kubernetes 1.36", func(t *testing.T) {
		policy := run(t, "", "helm", "-n", namespace, "template", "confcom", "charts/confcom", "--set", "platform=simulated", "--kube-version", "1.35.4", "--show-only", "templates/warnings.yaml")
		policy = strings.ReplaceAll(policy, "sgx-warnings", "e2e-warnings")
		t.Cleanup(func() { run(t, policy, "kubectl", "delete", "-f", "-") })
		run(t, policy, "kubectl", "create", "-f", "-")
		intel := deployment("Deployment", container(`"resources": {"limits": {"sgx.intel.com/epc": "1Mi"}}`))
		eventually(t, "the API server names the resource to use", func() bool {
			_, err := try(t, intel, "kubectl", "create", "--dry-run=server", "--warnings-as-errors", "-f", "-")
			return err != nil && strings.Contains(err.Error(), "container main requests sgx.intel.com/epc, which no node of this cluster has: use "+resource+", in MiB (sgx.intel.com/epc is in bytes)")
		})
	})
}

// TestLeftoversOfIntel checks that nodes are named whose status still has the resource of
// Intel's plugin, and that the command removes it that goes with it.
func TestLeftoversOfIntel(t *testing.T) {
	set := func(value string) {
		kubectl(t, "patch", "node", nodeName(t), "--subresource=status", "--type=merge", "--patch",
			`{"status": {"capacity": {"sgx.intel.com/epc": `+value+`}, "allocatable": {"sgx.intel.com/epc": `+value+`}}}`)
	}
	notes := func() string {
		return run(t, "", "helm", "-n", namespace, "upgrade", "confcom", "charts/confcom", "--reuse-values", "--dry-run=server")
	}
	warning := "THE STATUS OF NODES STILL HAS sgx.intel.com/epc, of another plugin: " + nodeName(t) + "."
	set(`"1048576"`)
	t.Cleanup(func() { set("null") })
	found := notes()
	if !strings.Contains(found, warning) {
		t.Fatalf("the notes lack %q", warning)
	}
	_, command, _ := strings.Cut(found, "  kubectl patch node NODE ")
	command, _, _ = strings.Cut(command, "\n")
	run(t, "", "bash", "-c", "kubectl patch node "+nodeName(t)+" "+command)
	if left := kubectl(t, "get", "nodes", "-o", "jsonpath={.items[*].status}"); strings.Contains(left, "sgx.intel.com/epc") {
		t.Errorf("left: %s", left)
	}
	if strings.Contains(notes(), warning) {
		t.Error("the notes still name the node")
	}
}

// TestIntelJob runs the sample job with the resource and the annotation of Intel's plugin:
// it is scheduled by its EPC and gets a quote, with nothing of confcom in its manifest.
func TestIntelJob(t *testing.T) {
	manifest := filepath.Join(t.TempDir(), "job.yaml")
	if err := os.WriteFile(manifest, []byte(`apiVersion: batch/v1
kind: Job
metadata:
  name: attested-job
  labels: {app: attested-job}
spec:
  template:
    metadata:
      labels: {app: attested-job}
      annotations: {sgx.intel.com/quote-provider: aesmd}
    spec:
      containers:
      - name: attested-job
        image: localhost/confcom/attested-job:0.1.0
        args: ["--trust-simulated"]
        resources: {limits: {sgx.intel.com/epc: "512Ki"}}
      restartPolicy: Never
  backoffLimit: 0
`), 0o600); err != nil {
		t.Fatal(err)
	}
	log := runJob(t, "default", manifest)
	if !strings.Contains(log, `verified up to the root "SIMULATED (NOT INTEL) SGX Root CA"`) {
		t.Errorf("the job's own verdict is missing from its log:\n%s", log)
	}
	got := kubectl(t, "get", "pods", "-l", "app=attested-job", "-o", `jsonpath={.items[0].spec.containers[0].resources.limits}`)
	if want := `{"` + resource + `":"1","` + enclave + `":"1"}`; got != want {
		t.Errorf("limits %s, want %s", got, want)
	}
}

// TestIntelPodInModeNode runs a pod for Intel's plugin on a node whose EPC is in its status.
func TestIntelPodInModeNode(t *testing.T) {
	upgrade(t, "simulatedEPC=512Gi", "simulatedDevice=/dev/null")
	forgetDevices(t)
	waitAllocatable(t, resource, "524288")
	waitAllocatable(t, enclave, slots)

	p := newPod(t, "default", "intel-epc", limits{"sgx.intel.com/epc": "300Gi"})
	p.waitReady(t)
	p.checkDevice(t, "/dev/sgx_enclave", true)
	newPod(t, "default", "intel-epc-2", limits{"sgx.intel.com/epc": "300Gi"}).waitUnschedulable(t, "Insufficient "+resource)
}
