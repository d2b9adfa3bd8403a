package manifest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/confcom/confcom/internal/cli/clitest"
)

const (
	intel = "kind: Pod\napiVersion: v1\nmetadata: {name: p}\nspec:\n  containers:\n  - name: main\n    resources: {limits: {sgx.intel.com/epc: 3Mi}} # EPC\n"
	ours  = "kind: Pod\napiVersion: v1\nmetadata: {name: p}\nspec:\n  containers:\n  - name: main\n    resources: {limits: {kubernetes.azure.com/sgx_epc_mem_in_MiB: 3}} # EPC\n"
)

func TestConvert(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pod.yaml")
	if err := os.WriteFile(file, []byte(intel), 0o600); err != nil {
		t.Fatal(err)
	}
	const change = ":7: Pod p, container main: sgx.intel.com/epc: 3Mi becomes kubernetes.azure.com/sgx_epc_mem_in_MiB: 3\n"
	for name, c := range map[string]struct {
		stdin string
		args  []string
		exit  int
		out   string
		errs  string
	}{
		"a file":              {"", []string{file}, 0, ours, file + change},
		"standard input":      {intel, []string{"-"}, 0, ours, "-" + change},
		"nothing to change":   {ours, []string{"-"}, 0, ours, "-: nothing to change\n"},
		"a check":             {"", []string{file, "--check"}, 1, "", file + change},
		"a check that passes": {ours, []string{"-", "--check"}, 0, "", "-: nothing to change\n"},
		"another resource": {intel, []string{"-", "--epc-resource=example.com/epc"}, 0, strings.ReplaceAll(ours, "kubernetes.azure.com/sgx_epc_mem_in_MiB", "example.com/epc"),
			"-:7: Pod p, container main: sgx.intel.com/epc: 3Mi becomes example.com/epc: 3\n"},
		"a template": {"{{- if .Values.a }}\na: b\n", []string{"-"}, 2, "", `confcom manifest convert: -: this is a template of a chart: convert what "helm template" prints` + "\n"},
		"no file":    {"", []string{file + "x"}, 2, "", "confcom manifest convert: open " + file + "x: no such file or directory\n"},
		"not a name": {"", []string{file, "--epc-resource=epc"}, 2, "",
			"confcom manifest convert: " + file + ": \"epc\" is not the name of an extended resource, such as kubernetes.azure.com/sgx_epc_mem_in_MiB\n"},
	} {
		t.Run(name, func(t *testing.T) {
			exit, out, errs := clitest.Run(t, []byte(c.stdin), append([]string{"manifest", "convert"}, c.args...)...)
			if exit != c.exit || out != c.out || errs != c.errs {
				t.Errorf("exit %d\n%s%s\nwant %d\n%s%s", exit, out, errs, c.exit, c.out, c.errs)
			}
		})
	}
}

// A file can be converted in its place. It is not touched if something is wrong with it.
func TestInPlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pod.yaml")
	for in, want := range map[string]string{intel: ours, intel + "---\na: [\n": intel + "---\na: [\n"} {
		if err := os.WriteFile(file, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		clitest.Run(t, nil, "manifest", "convert", file, "--out", file)
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s, %v, want\n%s", got, err, want)
		}
	}
}
