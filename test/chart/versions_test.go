package chart

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// everything are values that render all objects of the chart between them.
func everything(t *testing.T) []string {
	return []string{
		`{platform: simulated, verifier: {enabled: true, policy: {anyEnclave: true}, tlsSecret: tls, root: PEM, bundle: JSON, podDisruptionBudget: {maxUnavailable: 1}}, podAnnotations: {a: b}, imagePullSecrets: [{name: a}], tolerations: [{operator: Exists}]}`,
		merged(t, `{dcap: {groups: [1]}, provision: {enabled: true}, devicePlugin: {legacyDevicePaths: true}, clusterNetworks: ["2001:db8::/56"]}`),
		`{platform: upstream, aesmDir: /var/run/confcom-aesmd, enclave: {requireEPC: true}, nodes: all, quoteHelper: {maxSurge: 0}}`,
		`{quoteHelper: {enabled: false}, epc: {writer: nfd}, nodes: label, nodeLabeller: {hostNetwork: true}}`,
		`{quoteHelper: {enabled: false}, epc: {writer: none, advertise: devices}, networkPolicy: {enabled: false}}`,
	}
}

// releases are the versions of Kubernetes that the chart supports, each with the release of
// client-go whose schema has the fields of that version's API.
func releases() map[string]string {
	return map[string]string{
		"1.30.0":         "v0.30.14",
		"1.31.0":         "v0.31.14",
		"1.32.0":         "v0.32.13",
		"1.33.0":         "v0.33.13",
		"1.34.0":         "v0.34.13",
		"1.35.4":         "v0.35.10",
		"1.36.0-gke.100": "v0.36.6",
		"1.37.2":         "v0.37.2",
	}
}

// TestKubernetesVersions checks that the API of each supported version of Kubernetes has
// every object that the chart renders for it, and every field, with that type.
func TestKubernetesVersions(t *testing.T) {
	for version, release := range releases() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			types := apiOf(t, release)
			count := 0
			for _, values := range everything(t) {
				for _, object := range manifests(t, version, values) {
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
	command := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", "k8s.io/client-go@"+release)
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
	_, text, found := strings.Cut(string(source), "typed.YAMLObject(`")
	text, _, ended := strings.Cut(text, "`)")
	if !found || !ended {
		t.Fatalf("client-go %s has no schema", release)
	}
	parser, err := typed.NewParser(typed.YAMLObject(text))
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

func checkObject(t *testing.T, types *typed.Parser, object manifest) {
	t.Helper()
	kind := object.GetObjectKind().GroupVersionKind()
	group, _, _ := strings.Cut(kind.Group, ".")
	if group == "" {
		group = "core"
	}
	name := "io.k8s.api." + strings.TrimSuffix(group, "authorization") + "." + kind.Version + "." + kind.Kind
	if !types.Type(name).IsValid() {
		t.Errorf("this version of Kubernetes has no %s", name)
		return
	}
	if _, err := types.Type(name).FromYAML(typed.YAMLObject(object.text)); err != nil {
		t.Errorf("%v in\n%s", err, object.text)
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

// TestHelmTest checks that 'helm test' looks at every DaemonSet, Deployment and admission
// policy that the chart installs with the same values.
func TestHelmTest(t *testing.T) {
	for _, values := range everything(t) {
		var tested []string
		objects := render(t, "1.37.2", values)
		for _, object := range objects {
			if pod, ok := object.(*corev1.Pod); ok {
				for _, container := range pod.Spec.Containers {
					tested = append(tested, container.Args...)
				}
			}
		}
		for _, object := range objects {
			switch kind := object.GetObjectKind().GroupVersionKind().Kind; kind {
			case "DaemonSet", "Deployment", "MutatingAdmissionPolicy", "ValidatingAdmissionPolicy":
				if want := "--object=" + kind + "/" + object.(metav1.Object).GetName(); !slices.Contains(tested, want) {
					t.Errorf("%s: helm test lacks %s", values, want)
				}
			}
		}
	}
}

// TestLint checks that helm finds nothing wrong with the chart, without a cluster and the
// version of one.
func TestLint(t *testing.T) {
	for _, values := range everything(t) {
		output, err := helm(t, values, "lint", "--strict", chart, "--values", "-")
		if err != nil || !strings.Contains(output, "0 chart(s) failed") || strings.Contains(output, "[WARNING]") {
			t.Errorf("%v\n%s", err, output)
		}
	}
	if text, err := helm(t, `{platform: simulated}`, "template", "a", chart, "--values", "-"); err != nil || !strings.Contains(text, "name: sgx-device-plugin") {
		t.Errorf("%v\n%s", err, text)
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
	if err := os.CopyFS(filepath.Join(dir, "charts", "confcom"), os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	text, err := helm(t, "", "template", "release", dir, "--kube-version", "1.37")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"name: sgx-quote-helper", "image: registry.example.org/confcom/sgx-device-plugin:0.1.0", "--object=MutatingAdmissionPolicy/sgx-enclave-with-epc"} {
		if !strings.Contains(text, want) {
			t.Errorf("the manifests lack: %s", want)
		}
	}
	if text, err := helm(t, "", "template", "release", dir, "--kube-version", "1.37", "--set", "confcom.enabled=false"); err != nil || strings.TrimSpace(text) != "" {
		t.Errorf("with enabled=false: %v\n%s", err, text)
	}
}

// TestProfiles checks each profile, alone and with what it needs, and that a page says what it
// is for.
func TestProfiles(t *testing.T) {
	page, err := os.ReadFile("../../docs/getting-started/install.md")
	if err != nil {
		t.Fatal(err)
	}
	profile := func(name string) string { return filepath.Join(chart, "profiles", name+".yaml") }
	// What the manifests have with each profile.
	want := map[string][]string{
		"aks":              {"--platform=dcap\n", "metadata/THIM", "instance-type"},
		"dcap":             {"--platform=dcap\n", "name: sgx-node-labeller\n"},
		"simulated":        {"--platform=simulated\n", "--simulate-epc=64Mi\n"},
		"intel-compatible": {"--resources=epc,enclave,provision", `request.namespace in ["confcom-system"]`, "sgx.intel.com/epc"},
	}
	files, err := os.ReadDir(filepath.Join(chart, "profiles"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file.Name(), ".yaml")
		if !strings.Contains(string(page), "`"+file.Name()+"`") || want[name] == nil {
			t.Errorf("install.md or this test lacks the profile %s", file.Name())
		}
		args := []string{"template", "confcom", chart, "--namespace", "confcom-system", "--kube-version", "1.37.2", "--values", profile(name)}
		text, err := helm(t, "", args...)
		if name == "intel-compatible" {
			if err == nil || !strings.Contains(err.Error(), "platform is not set") {
				t.Errorf("%s alone: %v", name, err)
			}
			text, err = helm(t, "", append(args, "--values", profile("dcap"))...)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, part := range want[name] {
			if !strings.Contains(text, part) {
				t.Errorf("%s: the manifests lack %q", name, part)
			}
		}
	}
	if len(files) != len(want) {
		t.Errorf("%d profiles, want %d", len(files), len(want))
	}
}
