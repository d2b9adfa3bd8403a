package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// everything are sets of values that render all objects of the chart between them.
var everything = [][]string{
	{"platform=simulated", "verifier.enabled=true", "verifier.policy.anyEnclave=true", "verifier.tlsSecret=tls", "verifier.root=PEM", "verifier.bundle=JSON", "podAnnotations.a=b", "imagePullSecrets[0].name=a", "tolerations[0].operator=Exists"},
	{"platform=dcap", "dcap.provider.azureTHIM=true", "dcap.groups={1}", "provision.enabled=true", "devicePlugin.cdi=true", "devicePlugin.legacyDevicePaths=true", "clusterNetworks={2001:db8::/56}"},
	{"platform=upstream", "aesmDir=/var/run/confcom-aesmd", "enclave.requireEPC=true", "nodes=all", "quoteHelper.maxSurge=0"},
	{"quoteHelper.enabled=false", "epc.writer=nfd", "nodes=label"},
	{"quoteHelper.enabled=false", "epc.writer=none", "epc.advertise=devices", "networkPolicy.enabled=false"},
}

// kubernetesVersions are those that the chart supports, each with the release of client-go
// whose schema has the fields of that version's API.
var kubernetesVersions = map[string]string{
	"1.30": "v0.30.14",
	"1.31": "v0.31.14",
	"1.32": "v0.32.13",
	"1.33": "v0.33.13",
	"1.34": "v0.34.13",
	"1.35": "v0.35.10",
	"1.36": "v0.36.6",
	"1.37": "v0.37.2",
}

// TestKubernetesVersions checks that the API of each supported version of Kubernetes has
// every object that the chart renders for it, and every field, with that type.
func TestKubernetesVersions(t *testing.T) {
	for version, release := range kubernetesVersions {
		t.Run(version, func(t *testing.T) {
			types := apiOf(t, release)
			count := 0
			for _, values := range everything {
				for _, object := range rendered(t, version, values...) {
					count++
					checkObject(t, types, object)
				}
			}
			t.Logf("%d objects", count)
			checkThatFails(t, types)
		})
	}
}

// apiOf returns the types of the Kubernetes API in a release of client-go.
func apiOf(t *testing.T, release string) *typed.Parser {
	t.Helper()
	command := exec.Command("go", "mod", "download", "-json", "k8s.io/client-go@"+release)
	command.Dir = t.TempDir() // in no module
	output, err := command.Output()
	if err != nil {
		t.Skipf("NOT RUN: download client-go %s: %v: %s", release, err, output)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(output, &module); err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(module.Dir, "applyconfigurations", "internal", "internal.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, schema, found := strings.Cut(string(source), "typed.YAMLObject(`")
	schema, _, ended := strings.Cut(schema, "`)")
	if !found || !ended {
		t.Fatalf("client-go %s has no schema", release)
	}
	parser, err := typed.NewParser(typed.YAMLObject(schema))
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

// rendered returns the objects that the chart renders for a version of Kubernetes, hooks
// among them, as YAML.
func rendered(t *testing.T, version string, values ...string) []string {
	t.Helper()
	manifests, err := render(t, version, values...)
	if err != nil {
		t.Fatal(err)
	}
	var objects []string
	for object := range strings.SplitSeq(manifests, "\n---\n") {
		if strings.Contains(object, "\nkind: ") {
			objects = append(objects, object)
		}
	}
	return objects
}

var (
	apiVersionLine = regexp.MustCompile(`(?m)^apiVersion: (?:([a-z0-9.-]+)/)?(\S+)$`)
	kindLine       = regexp.MustCompile(`(?m)^kind: (\S+)$`)
)

// typeOf returns the name of an object's type in the schema, or "" if the object is of a
// custom resource.
func typeOf(object string) string {
	m := apiVersionLine.FindStringSubmatch(object)
	group, _, _ := strings.Cut(m[1], ".")
	switch {
	case group == "":
		group = "core"
	case strings.HasPrefix(m[1], "nfd."):
		return ""
	}
	return "io.k8s.api." + strings.TrimSuffix(group, "authorization") + "." + m[2] + "." + kindLine.FindStringSubmatch(object)[1]
}

func checkObject(t *testing.T, types *typed.Parser, object string) {
	t.Helper()
	name := typeOf(object)
	if name == "" {
		return
	}
	kind := types.Type(name)
	if !kind.IsValid() {
		t.Errorf("this version of Kubernetes has no %s", name)
		return
	}
	if _, err := kind.FromYAML(typed.YAMLObject(object)); err != nil {
		t.Errorf("%v in\n%s", err, object)
	}
}

// checkThatFails checks that unknown fields and values of another type are errors.
func checkThatFails(t *testing.T, types *typed.Parser) {
	t.Helper()
	for _, spec := range []string{"{hostPid: true}", "{hostPID: [true]}", "{containers: [{name: a, imagePullpolicy: Never}]}"} {
		if _, err := types.Type("io.k8s.api.core.v1.Pod").FromYAML(typed.YAMLObject("spec: " + spec)); err == nil {
			t.Errorf("a pod with spec %s is accepted", spec)
		}
	}
}

// TestSubchart checks that another chart can depend on this one, by a condition.
func TestSubchart(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml":  "apiVersion: v2\nname: platform\nversion: 1.0.0\ndependencies:\n- {name: confcom, version: 0.1.0, condition: confcom.enabled}\n",
		"values.yaml": "global: {imageRegistry: registry.example.org, others: {a: b}}\nconfcom: {enabled: true, platform: simulated}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "charts", "confcom"), os.DirFS(filepath.Join(root, "charts/confcom"))); err != nil {
		t.Fatal(err)
	}
	manifests := run(t, "", "helm", "template", "release", dir, "--kube-version", "1.37")
	for _, want := range []string{"name: sgx-quote-helper", "image: registry.example.org/confcom/sgx-device-plugin:0.1.0", "--object=MutatingAdmissionPolicy/sgx-enclave-with-epc"} {
		if !strings.Contains(manifests, want) {
			t.Errorf("the manifests lack: %s", want)
		}
	}
	if manifests := run(t, "", "helm", "template", "release", dir, "--kube-version", "1.37", "--set", "confcom.enabled=false"); strings.TrimSpace(manifests) != "" {
		t.Errorf("with enabled=false:\n%s", manifests)
	}
	// It is nothing that a release of this chart alone could be.
	if _, err := render(t, "1.37", "platform=simulated", "enabled=false"); err == nil || !strings.Contains(err.Error(), "/enabled") {
		t.Errorf("enabled=false without another chart: %v", err)
	}
}

// TestLint checks that helm finds nothing wrong with the chart.
func TestLint(t *testing.T) {
	for _, values := range everything {
		output := run(t, "", "helm", "lint", "--strict", "charts/confcom", "--set", strings.Join(values, ","))
		if !strings.Contains(output, "0 chart(s) failed") || strings.Contains(output, "[WARNING]") {
			t.Error(output)
		}
	}
}

// TestHelmTestCoversAll checks that 'helm test' looks at every DaemonSet, Deployment and
// admission policy that the chart installs with the same values.
func TestHelmTestCoversAll(t *testing.T) {
	for _, values := range everything {
		objects := rendered(t, "1.37", values...)
		all := strings.Join(objects, "\n")
		for _, object := range objects {
			kind := kindLine.FindStringSubmatch(object)[1]
			switch kind {
			case "DaemonSet", "Deployment", "MutatingAdmissionPolicy", "ValidatingAdmissionPolicy":
				name := regexp.MustCompile(`(?m)^  name: (\S+)$`).FindStringSubmatch(object)[1]
				if !strings.Contains(all, "\n    - --object="+kind+"/"+name+"\n") {
					t.Errorf("%q: helm test does not look at %s %s", values, kind, name)
				}
			}
		}
	}
}

// TestPodAnnotations checks that annotations of one's own are in all pods, and cannot
// replace those that the chart needs.
func TestPodAnnotations(t *testing.T) {
	const verifier = "verifier.enabled=true,verifier.policy.anyEnclave=true"
	for _, object := range rendered(t, "1.37", "platform=simulated,"+verifier, "podAnnotations.example\\.org/a=b") {
		switch kindLine.FindStringSubmatch(object)[1] {
		case "Pod", "DaemonSet", "Deployment", "Job":
			if strings.Count(object, "    example.org/a: b\n") != 1 {
				t.Errorf("no annotation in\n%s", object)
			}
		}
	}
	for _, key := range []string{"confcom/files", `helm\.sh/hook`} {
		_, err := render(t, "1.37", "platform=simulated,"+verifier, "podAnnotations."+key+"=b")
		if want := "podAnnotations has " + strings.ReplaceAll(key, `\`, "") + ", which the chart sets for "; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestWithoutCluster checks that 'helm template' needs no cluster, nor the version of one.
func TestWithoutCluster(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for _, values := range everything {
		if manifests := run(t, "", "helm", "template", "a", "charts/confcom", "--set", strings.Join(values, ",")); !strings.Contains(manifests, "name: sgx-device-plugin") {
			t.Errorf("%q: %s", values, manifests)
		}
	}
}
