// Package outside checks that other Go modules can use the public packages: it copies their
// examples into a module of its own, which compiles and runs them.
package outside

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/confcom/confcom"
)

// public returns the public packages, relative to the module: those that are neither programs nor
// internal nor tests.
func public(t *testing.T) []string {
	t.Helper()
	output, err := run(t, root, nil, "list", "-f", `{{if and .GoFiles (ne .Name "main")}}{{.ImportPath}}{{end}}`, "./...")
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, output)
	}
	var packages []string
	for line := range strings.Lines(string(output)) {
		name := strings.TrimPrefix(strings.TrimSpace(line), module+"/")
		if name != "" && !strings.Contains("/"+name+"/", "/internal/") && !strings.HasPrefix(name, "test/") {
			packages = append(packages, name)
		}
	}
	slices.Sort(packages)
	return packages
}

// Every public package has examples, which compile and run in another module.
func TestExamples(t *testing.T) {
	noteSources(t)
	repository, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	dir, packages := t.TempDir(), public(t)
	for _, name := range packages {
		example := read(t, filepath.Join(root, name, "example_test.go"))
		if !bytes.Contains(example, []byte("_test\n")) || !bytes.Contains(example, []byte("func Example")) {
			t.Errorf("%s/example_test.go has no example in a package of its own", name)
		}
		write(t, filepath.Join(dir, name, "example_test.go"), example)
	}
	// The requirements are those of the repository, so that nothing has to be downloaded.
	for _, file := range []string{"go.mod", "go.sum"} {
		write(t, filepath.Join(dir, file), read(t, filepath.Join(root, file)))
	}
	offline := []string{"GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off"}
	if output, err := run(t, dir, offline, "mod", "edit", "-module=outside.example", "-require="+module+"@v0.0.0", "-replace="+module+"="+repository); err != nil {
		t.Fatalf("go mod edit: %v\n%s", err, output)
	}

	// Vet needs the package itself to check the names of examples.
	output, err := run(t, dir, offline, "test", "-vet=off", "-json", "./...")
	if err != nil {
		t.Errorf("go test: %v\n%s", err, output)
	}
	var tested []string
	for d := json.NewDecoder(bytes.NewReader(output)); ; {
		var event struct{ Action, Package, Test string }
		if err := d.Decode(&event); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go test: %v\n%s", err, output)
		}
		if event.Action == "pass" && event.Test == "" {
			tested = append(tested, strings.TrimPrefix(event.Package, "outside.example/"))
		}
	}
	if slices.Sort(tested); !slices.Equal(tested, packages) {
		t.Errorf("the examples of %q passed, want those of %q\n%s", tested, packages, output)
	}
}

// Public packages import nothing internal but what is their own, and no Kubernetes. Verifiers do
// not link the fake Intel.
func TestImports(t *testing.T) {
	noteSources(t)
	for _, name := range public(t) {
		output, err := run(t, root, nil, "list", "-deps", "./"+name)
		if err != nil {
			t.Fatalf("go list %s: %v\n%s", name, err, output)
		}
		for line := range strings.Lines(string(output)) {
			path := strings.TrimSpace(line)
			switch {
			case strings.HasPrefix(path, module+"/internal/"),
				strings.HasPrefix(path, "k8s.io/"),
				path == "flag", strings.HasSuffix(path, "/pflag"),
				path == module+"/attest/attesttest" && name != "attest/attesttest":
				t.Errorf("%s depends on %s", name, path)
			}
		}
	}
}

// run runs the go command and returns its output.
func run(t *testing.T, dir string, env []string, args ...string) ([]byte, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		output = append(output, stderr.Bytes()...)
	}
	return output, err
}

// noteSources looks at all sources. The result of a test is cached for as long as the files that it
// has looked at are the same; the go command cannot see at which files its child has looked.
func noteSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && filepath.Dir(path) == root && slices.Contains([]string{".git", "bin", "dist", "test"}, entry.Name()) {
			return fs.SkipDir
		}
		if entry.Type().IsRegular() && filepath.Ext(path) == ".go" {
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
