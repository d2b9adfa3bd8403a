// Package chart tests what the Helm chart renders, without a cluster. It needs helm on the
// PATH: 'eval "$(bin/cluster env)"' puts it there. What an API server says to it is for
// test/e2e. Each rendering costs a process, so tests check as much of one as they can.
package chart

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

// TestMain runs nothing without helm.
func TestMain(m *testing.M) {
	if _, err := exec.LookPath("helm"); err != nil {
		fmt.Println(`NOT RUN: what the chart renders is tested with helm, which is not on the PATH: eval "$(bin/cluster env)" puts it there`)
		return
	}
	os.Exit(m.Run())
}

const chart = "../../charts/confcom"

// helm runs a command of helm, without a cluster.
func helm(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "helm", args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(t.TempDir(), "none"))
	command.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		return "", errors.New(strings.TrimSpace(stderr.String()))
	}
	return string(output), nil
}

// template renders the chart for a version of Kubernetes with values in YAML, and others as
// arguments of --set.
func template(t *testing.T, version, values string, set ...string) (string, error) {
	t.Helper()
	args := []string{"template", "confcom", chart, "--namespace", "confcom-system", "--kube-version", version, "--values", "-"}
	for _, value := range set {
		args = append(args, "--set", value)
	}
	return helm(t, values, args...)
}

// manifest is an object that the chart renders, and its text.
type manifest struct {
	runtime.Object
	text string
}

// manifests renders the chart and decodes each object as the API server does with strict
// validation: it knows all fields, and no field is there twice.
func manifests(t *testing.T, version, values string, set ...string) []manifest {
	t.Helper()
	text, err := template(t, version, values, set...)
	if err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, serializer.SerializerOptions{Yaml: true, Strict: true})
	var objects []manifest
	for reader := yaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(text))); ; {
		document := make([]byte, len(text)+1)
		n, err := reader.Read(document)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		document = document[:n]
		if len(bytes.TrimSpace(document)) == 0 || bytes.Contains(document, []byte("\nkind: NodeFeatureRule\n")) { // not one of Kubernetes
			continue
		}
		object, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			t.Errorf("Kubernetes %s: %v\n%s", version, err, document)
			continue
		}
		objects = append(objects, manifest{object, string(document)})
	}
}

// render returns the objects that the chart renders.
func render(t *testing.T, version, values string, set ...string) []runtime.Object {
	t.Helper()
	var objects []runtime.Object
	for _, m := range manifests(t, version, values, set...) {
		objects = append(objects, m.Object)
	}
	return objects
}

// pods returns the templates of the pods of all workloads, by the names of the workloads.
func pods(t *testing.T, objects []runtime.Object) map[string]*corev1.PodTemplateSpec {
	t.Helper()
	templates := make(map[string]*corev1.PodTemplateSpec)
	for _, object := range objects {
		switch o := object.(type) {
		case *appsv1.DaemonSet:
			templates[o.Name] = &o.Spec.Template
		case *appsv1.Deployment:
			templates[o.Name] = &o.Spec.Template
		case *batchv1.Job:
			templates[o.Name] = &o.Spec.Template
		}
	}
	return templates
}

// find returns the object of this type and name, or nil.
func find[T interface {
	comparable
	metav1.Object
}](objects []runtime.Object, name string) T {
	var none T
	for _, object := range objects {
		if o, ok := object.(T); ok && o.GetName() == name {
			return o
		}
	}
	return none
}

// component is a component of the chart, and the workloads that follow its values.
type component struct {
	key, name string
	// jobs are the hooks with the component's image.
	jobs []string
}

func components() []component {
	return []component{
		{"devicePlugin", "sgx-device-plugin", nil},
		{"nodeResource", "sgx-node-resource", []string{"confcom-uninstall"}},
		{"nodeLabeller", "sgx-node-labeller", []string{"confcom-unlabel"}},
		{"quoteHelper", "sgx-quote-helper", nil},
		{"verifier", "confcom-verifier", nil},
	}
}

// all installs all components, each with all that it can mount.
const all = `
platform: dcap
dcap: {provider: {azureTHIM: true}}
nodes: label
devicePlugin: {cdi: true}
verifier: {enabled: true, replicas: 2, policy: {anyEnclave: true}, tlsSecret: confcom-tls}
caBundle: {configMap: bundle}
`

// merged returns the values all with others, which replace what is in both, as JSON.
func merged(t *testing.T, values string) string {
	t.Helper()
	result := parse(t, all)
	merge(result, parse(t, values))
	text, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	var values map[string]any
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return values
}

func merge(into, from map[string]any) {
	for key, value := range from {
		below, isMap := into[key].(map[string]any)
		if replacement, ok := value.(map[string]any); ok && isMap {
			merge(below, replacement)
			continue
		}
		into[key] = value
	}
}
