package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"

	"github.com/confcom/confcom/internal/epc"
)

// report returns what was found in a manifest, a line each.
func report(r Result) string {
	var out strings.Builder
	for _, f := range r.Changes {
		fmt.Fprintf(&out, "%d: %s: %s\n", f.Line, f.Where, f.Detail)
	}
	for _, f := range r.Notes {
		fmt.Fprintf(&out, "%d: note: %s: %s\n", f.Line, f.Where, f.Detail)
	}
	return out.String()
}

// TestWorkloads converts manifests that were written for other plugins. converted.txtar has
// what becomes of each, and what is said about it. The end-to-end tests create the pods.
func TestWorkloads(t *testing.T) {
	golden, err := txtar.ParseFile("testdata/converted.txtar")
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string)
	for _, file := range golden.Files {
		want[file.Name] = string(file.Data)
	}
	files, err := filepath.Glob("testdata/workloads/*")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d manifests, %v", len(files), err)
	}
	if len(want) != 2*len(files) {
		t.Errorf("converted.txtar has %d files, want 2 for each of %d manifests", len(want), len(files))
	}
	got := new(txtar.Archive)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		result, err := Convert(text, DefaultResource)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		name := filepath.Base(file)
		got.Files = append(got.Files, txtar.File{Name: name, Data: result.Text}, txtar.File{Name: name + ": findings", Data: []byte(report(result))})
		if diff := cmp.Diff(want[name], string(result.Text)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		if diff := cmp.Diff(want[name+": findings"], report(result)); diff != "" {
			t.Errorf("%s: findings (-want +got)\n%s", name, diff)
		}
	}
	if t.Failed() && os.Getenv("UPDATE") != "" {
		if err := os.WriteFile("testdata/converted.txtar", txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNames checks that the chart knows the same names, with the same units.
func TestNames(t *testing.T) {
	parts, err := os.ReadFile("../../charts/confcom/templates/_parts.tpl")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(parts), `{{- define "confcom.epcNames" -}}`)
	text, _, _ = strings.Cut(text, "{{- end }}")
	inChart := make(map[string]int64)
	var plugins map[string]map[string]string
	if err := yaml.Unmarshal([]byte(text), &plugins); err != nil {
		t.Fatal(err)
	}
	for _, names := range plugins {
		for name, unit := range names {
			inChart[name] = map[string]int64{"bytes": 1, "MiB": mib}[unit]
		}
	}
	if epc.DefaultResource != DefaultResource || epc.IntelResource != intelEPC {
		t.Errorf("%s and %s, but %s and %s in package epc", DefaultResource, intelEPC, epc.DefaultResource, epc.IntelResource)
	}
	if diff := cmp.Diff(inChart, names()); diff != "" {
		t.Errorf("(-chart +here)\n%s", diff)
	}
}

// container returns a pod with one container, whose lines are these.
func container(lines string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {sgx.intel.com/quote-provider: aesmd}}\nspec:\n  containers:\n  - name: main\n" +
		"    " + strings.ReplaceAll(strings.TrimSuffix(lines, "\n"), "\n", "\n    ") + "\n"
}

// limits returns the text of the limits of a container.
func limits(lines string) string {
	return "env: [{name: SGX_AESM_ADDR, value: \"1\"}]\nresources:\n  limits:\n    " + strings.ReplaceAll(lines, "\n", "\n    ")
}

// TestStyles converts manifests in every style in which the same thing can be written.
func TestStyles(t *testing.T) {
	const epc = DefaultResource
	for name, c := range map[string]struct{ in, want string }{
		"exact MiB":         {limits("sgx.intel.com/epc: 1048576"), limits(epc + ": 1")},
		"a byte more":       {limits("sgx.intel.com/epc: 1048577"), limits(epc + ": 2")},
		"a byte":            {limits("sgx.intel.com/epc: 1"), limits(epc + ": 1")},
		"decimal":           {limits("sgx.intel.com/epc: 10M"), limits(epc + ": 10")},
		"a fraction of Gi":  {limits("sgx.intel.com/epc: 0.5Gi"), limits(epc + ": 512")},
		"the largest":       {limits("sgx.intel.com/epc: 9223372036854775807"), limits(epc + ": 8796093022208")},
		"MiB with a suffix": {limits("alibabacloud.com/sgx_epc_MiB: 1k"), limits(epc + ": 1000")},
		"single quotes":     {limits("'sgx.intel.com/epc': '2Mi'"), limits(epc + ": 2")},
		"a comment":         {limits("# before\nsgx.intel.com/epc: 2Mi # beside\n# after"), limits("# before\n" + epc + ": 2 # beside\n# after")},
		"the device with a comment": {limits("sgx.intel.com/enclave: 1 # no longer needed\nsgx.intel.com/epc: 2Mi"),
			limits(epc + ": 2")},
		"two names":           {limits("sgx.intel.com/epc: 2Mi\nalibabacloud.com/sgx_epc_MiB: 3"), limits(epc + ": 3")},
		"the same name twice": {limits("sgx.intel.com/epc: 2Mi\nsgx.intel.com/epc: 3Mi"), limits(epc + ": 3")},
		"beside ours":         {limits("sgx.intel.com/epc: 2Mi\n" + epc + ": 3"), limits(epc + ": 3")},
		"more than ours":      {limits(epc + ": 3\nsgx.intel.com/epc: 4Mi"), limits(epc + ": 4")},
		"in braces":           {limits("{sgx.intel.com/epc: 2Mi}"), limits("{" + epc + ": 2}")},
		"in braces, first":    {limits("{sgx.intel.com/enclave: 1, sgx.intel.com/epc: 2Mi}"), limits("{" + epc + ": 2}")},
		"in braces, last":     {limits("{sgx.intel.com/epc: 2Mi, sgx.intel.com/enclave: 1}"), limits("{" + epc + ": 2}")},
		"in braces, between": {limits("{cpu: 1, sgx.intel.com/enclave: 1, sgx.intel.com/epc: 2Mi}"),
			limits("{cpu: 1, " + epc + ": 2}")},
		"as JSON":             {limits(`{"sgx.intel.com/epc":"2Mi","sgx.intel.com/enclave":"1"}`), limits(`{"` + epc + `":2}`)},
		"after other letters": {limits("{пример/é: 1, sgx.intel.com/epc: 2Mi}"), limits("{пример/é: 1, " + epc + ": 2}")},

		"no variables": {"resources:\n  limits:\n    sgx.intel.com/epc: 2Mi",
			"env:\n- name: SGX_AESM_ADDR\n  value: \"1\"\nresources:\n  limits:\n    " + epc + ": 2"},
		"other variables": {"env:\n- name: A\n  value: b\nresources: {limits: {sgx.intel.com/epc: 2Mi}}",
			"env:\n- name: SGX_AESM_ADDR\n  value: \"1\"\n- name: A\n  value: b\nresources: {limits: {" + epc + ": 2}}"},
		"indented variables": {"env:\n  - name: A\n    value: b\nresources: {limits: {sgx.intel.com/epc: 2Mi}}",
			"env:\n  - name: SGX_AESM_ADDR\n    value: \"1\"\n  - name: A\n    value: b\nresources: {limits: {" + epc + ": 2}}"},
		"variables in brackets": {"env: [{name: A, value: b}]\nresources: {limits: {sgx.intel.com/epc: 2Mi}}",
			"env: [{\"name\": \"SGX_AESM_ADDR\", \"value\": \"1\"}, {name: A, value: b}]\nresources: {limits: {" + epc + ": 2}}"},
		"an empty list of variables": {"env: []\nresources: {limits: {sgx.intel.com/epc: 2Mi}}",
			"env: [{\"name\": \"SGX_AESM_ADDR\", \"value\": \"1\"}]\nresources: {limits: {" + epc + ": 2}}"},
		"the variable is set": {"env: [{name: SGX_AESM_ADDR, value: \"0\"}]\nresources: {limits: {sgx.intel.com/epc: 2Mi}}",
			"env: [{name: SGX_AESM_ADDR, value: \"0\"}]\nresources: {limits: {" + epc + ": 2}}"},
		"the variable is a number": {"env: [{name: SGX_AESM_ADDR, value: 1}]\nresources: {limits: {sgx.intel.com/epc: 2Mi}}",
			"env: [{name: SGX_AESM_ADDR, value: \"1\"}]\nresources: {limits: {" + epc + ": 2}}"},
		"the device in the requests alone": {limits(epc+": 2\n") + "\n  requests: {sgx.intel.com/enclave: 1}", limits(epc+": 2\n") + "\n  requests: {}"},

		"nothing of SGX":      {"resources: {limits: {cpu: 1}}", "resources: {limits: {cpu: 1}}"},
		"no EPC":              {limits("sgx.intel.com/epc: 0"), limits("sgx.intel.com/epc: 0")},
		"half a byte":         {limits("sgx.intel.com/epc: 500m"), limits("sgx.intel.com/epc: 500m")},
		"not a quantity":      {limits("sgx.intel.com/epc: much"), limits("sgx.intel.com/epc: much")},
		"the device alone":    {limits("sgx.intel.com/enclave: 1"), limits("sgx.intel.com/enclave: 1")},
		"numbers without SGX": {"env: [{name: A, value: 1}]", "env: [{name: A, value: 1}]"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, end := range []string{"\n", "\r\n"} {
				in, want := strings.ReplaceAll(container(c.in), "\n", end), strings.ReplaceAll(container(c.want), "\n", end)
				result, err := Convert([]byte(in), DefaultResource)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, string(result.Text)); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				if (len(result.Changes) == 0) != (in == want) {
					t.Errorf("changes %v", result.Changes)
				}
			}
		})
	}
}

// TestDocuments converts manifests of several objects.
func TestDocuments(t *testing.T) {
	pod := container("resources: {limits: {sgx.intel.com/epc: 2Mi}}\nenv: [{name: SGX_AESM_ADDR, value: \"1\"}]")
	converted := strings.ReplaceAll(pod, "sgx.intel.com/epc: 2Mi", "kubernetes.azure.com/sgx_epc_mem_in_MiB: 2")
	nested := func(pod string) string {
		return "  " + strings.ReplaceAll(strings.TrimSuffix(pod, "\n"), "\n", "\n  ") + "\n"
	}
	const anchors = `kind: Pod
apiVersion: v1
metadata: {name: p}
spec:
  containers:
  - name: a
    resources: &r
      limits: {%s}
  - {name: b, resources: *r}
`
	for name, c := range map[string]struct{ in, want string }{
		"two documents":     {pod + "---\n# and\n" + pod, converted + "---\n# and\n" + converted},
		"empty documents":   {"---\n---\n" + pod + "---\n", "---\n---\n" + converted + "---\n"},
		"a byte order mark": {"\ufeff" + pod, "\ufeff" + converted},
		"a byte order mark on the line": {"\ufeff" + `{"kind": "Pod", "apiVersion": "v1", "spec": {"containers": [{"resources": {"limits": {"sgx.intel.com/epc": "2Mi"}}}]}}`,
			"\ufeff" + `{"kind": "Pod", "apiVersion": "v1", "spec": {"containers": [{"resources": {"limits": {"kubernetes.azure.com/sgx_epc_mem_in_MiB": 2}}}]}}`},
		"anchors of limits and variables": {`kind: Pod
apiVersion: v1
metadata: {name: p, annotations: {confcom.github.io/quote-provider: aesmd}}
spec:
  containers:
  - {name: a, env: &e [{name: A, value: 1}], resources: &r {limits: {sgx.intel.com/epc: 2Mi}}}
  - {name: b, env: *e, resources: *r}
  - {name: c, resources: *r}
`, `kind: Pod
apiVersion: v1
metadata: {name: p, annotations: {confcom.github.io/quote-provider: aesmd}}
spec:
  containers:
  - {name: a, env: &e [{"name": "SGX_AESM_ADDR", "value": "1"}, {name: A, value: "1"}], resources: &r {limits: {kubernetes.azure.com/sgx_epc_mem_in_MiB: 2}}}
  - {name: b, env: *e, resources: *r}
  - {name: c, "env": [{"name": "SGX_AESM_ADDR", "value": "1"}], resources: *r}
`},
		"anchors of lists of lines": {`kind: Pod
apiVersion: v1
metadata: {name: p, annotations: {confcom.github.io/quote-provider: aesmd}}
spec:
  containers:
  - env: &e
    - name: A
      value: b
    resources: {limits: {sgx.intel.com/epc: 2Mi}}
  - {name: b, env: *e, resources: {limits: {sgx.intel.com/epc: 2Mi}}}
`, `kind: Pod
apiVersion: v1
metadata: {name: p, annotations: {confcom.github.io/quote-provider: aesmd}}
spec:
  containers:
  - env: &e
    - name: SGX_AESM_ADDR
      value: "1"
    - name: A
      value: b
    resources: {limits: {kubernetes.azure.com/sgx_epc_mem_in_MiB: 2}}
  - {name: b, env: *e, resources: {limits: {kubernetes.azure.com/sgx_epc_mem_in_MiB: 2}}}
`},
		"a list that contains itself": {"a: &a [*a]\nb: *a\n", "a: &a [*a]\nb: *a\n"},
		"a custom resource":           {"apiVersion: example.com/v1\nkind: Own\nmetadata: {name: o}\ndriver:\n" + nested(pod), "apiVersion: example.com/v1\nkind: Own\nmetadata: {name: o}\ndriver:\n" + nested(converted)},
		"anchors":                     {fmt.Sprintf(anchors, "sgx.intel.com/epc: 2Mi"), fmt.Sprintf(anchors, "kubernetes.azure.com/sgx_epc_mem_in_MiB: 2")},
		"no last newline":             {strings.TrimSuffix(pod, "\n"), strings.TrimSuffix(converted, "\n")},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := Convert([]byte(c.in), DefaultResource)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(result.Text)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestNotes checks what is said about what is left as it is.
func TestNotes(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"values of a chart":     {"resources:\n  limits:\n    sgx.intel.com/epc: 6Gi\n", "3: note: : sgx.intel.com/epc is in no container: left as it is\n"},
		"SCONE":                 {container("resources: {limits: {sgx.k8s.io/sgx: 1}}"), "sgx.k8s.io/sgx is not understood"},
		"half a byte":           {container(limits("sgx.intel.com/epc: 500m")), "sgx.intel.com/epc: 500m is not a whole number, or too large: left as it is"},
		"too many bytes":        {container(limits("sgx.intel.com/epc: 100E")), "or too large"},
		"a user":                {container(limits("sgx.intel.com/epc: 1Mi") + "\nsecurityContext: {runAsUser: 1000}"), `the user 1000 may not be able to open the device: "confcom node"`},
		"a placeholder":         {container(limits("sgx.intel.com/epc: 9223372036854775807")), "8796093022208 MiB is more EPC than any machine has, so no node is found for it"},
		"bytes as MiB":          {container(limits(DefaultResource + ": 64Mi")), "67108864 MiB is more EPC than any machine has"},
		"all of a machine":      {container(limits("sgx.intel.com/epc: 4Ti")), ""},
		"requests":              {container(limits("sgx.intel.com/epc: 2Mi") + "\n  requests: {sgx.intel.com/epc: 1Mi}"), "the request for EPC differs from the limit"},
		"equal after rounding":  {container(limits("sgx.intel.com/epc: 2Mi") + "\n  requests: {sgx.intel.com/epc: 1.5Mi}"), ""},
		"variable without EPC":  {container("env: [{name: SGX_AESM_ADDR, value: \"1\"}]"), "SGX_AESM_ADDR without a limit on EPC"},
		"a resource like ours":  {container("resources: {limits: {example.com/epc: 1}}"), "example.com/epc is not understood"},
		"a resource unlike EPC": {container("resources: {limits: {example.com/recept: 1}}"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := Convert([]byte(c.in), DefaultResource)
			if err != nil {
				t.Fatal(err)
			}
			result.Changes = nil
			if got := report(result); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestRefuses checks the errors for what cannot be converted. Nothing is written then.
func TestRefuses(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"a template":             {"a: {{ .Values.a }}\n{{- if x }}\n", "this is a template of a chart"},
		"not YAML":               {"a: [\n", "yaml: "},
		"an amount by an alias":  {"a: &a 1Mi\n" + container("resources: {limits: {sgx.intel.com/epc: *a}}"), "convert it by hand"},
		"an escaped name":        {container(limits(`"sgx.intel.com\x2fepc": 2Mi`)), "convert it by hand"},
		"variables that are one": {container("env: {name: A}\nresources: {limits: {sgx.intel.com/epc: 2Mi}}"), "line 7: env is no list"},
	} {
		t.Run(name, func(t *testing.T) {
			if result, err := Convert([]byte(c.in), DefaultResource); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q\n%s", err, c.want, result.Text)
			}
		})
	}
	for name, want := range map[string]string{"epc": "not the name of an extended resource", "": "not the name", "example.com/a b": "not the name", "sgx.intel.com/epc": "counts bytes"} {
		if _, err := Convert([]byte("a: b"), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if _, err := Convert([]byte("{{ x }}: {{ y }}\n{{- end }}"), DefaultResource); !errors.Is(err, ErrTemplate) {
		t.Errorf("%v", err)
	}
}

// other returns the objects of a manifest without what a conversion changes.
func other(text []byte) (objects []any, err error) {
	changed := names()
	changed[intelEnclave], changed[intelProvision] = 1, 1
	var strip func(v any) any
	strip = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			left := make(map[string]any)
			for key, value := range v {
				if s := strip(value); changed[key] == 0 && s != nil {
					left[key] = s
				}
			}
			if left["name"] == aesmVariable {
				return nil
			}
			return left
		case []any:
			var left []any
			for _, element := range v {
				if s := strip(element); s != nil {
					left = append(left, s)
				}
			}
			if left == nil {
				return nil
			}
			return left
		case nil:
			return nil
		}
		return fmt.Sprint(v)
	}
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var v any
		switch err := decoder.Decode(&v); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, err
		}
		objects = append(objects, strip(v))
	}
}

// FuzzConvert checks that no text makes Convert panic, that what it returns needs no second
// conversion, and that it contains everything else that the text does.
func FuzzConvert(f *testing.F) {
	files, err := filepath.Glob("testdata/workloads/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		result, err := Convert(text, DefaultResource)
		if err != nil {
			return
		}
		if len(result.Changes) == 0 && string(result.Text) != string(text) {
			t.Error("the text differs without a change")
		}
		again, err := Convert(result.Text, DefaultResource)
		if err != nil || len(again.Changes) > 0 {
			t.Errorf("%v, %v", err, again.Changes)
		}
		before, err := other(text)
		if err != nil {
			return // a key twice, or an alias that does not end
		}
		after, err := other(result.Text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("(-before +after)\n%s", diff)
		}
	})
}
