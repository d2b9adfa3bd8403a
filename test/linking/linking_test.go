// Package linking looks at what the programs are linked with. All but one are
// static, so that their images hold nothing else and no library of a node can
// disturb them. That one is sgx-quote-worker, which loads Intel's libraries.
package linking

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	root   = "../.."
	worker = "sgx-quote-worker"
	// provider is a library that the worker has Intel's load.
	provider = "libconfcom_provider.so"
)

// Who imports attest gets Go's standard library and packages of ours.
func TestAttestImports(t *testing.T) {
	for _, p := range list(t, "0", "./attest") {
		if !p.Standard && !strings.HasPrefix(p.ImportPath, "github.com/confcom/confcom/") {
			t.Errorf("attest imports %s", p.ImportPath)
		}
	}
}

// pkg is what `go list` tells of a package.
type pkg struct {
	ImportPath string
	Name       string
	Standard   bool
	CgoFiles   []string // those that import "C"
	Deps       []string // all that it imports, directly or not
}

// list runs `go list` with cgo or without, on packages and all that they import.
func list(t *testing.T, cgo string, patterns ...string) []pkg {
	t.Helper()
	noteSources(t)
	command := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps", "-json=ImportPath,Name,Standard,CgoFiles,Deps"}, patterns...)...)
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go list with CGO_ENABLED=%s: %v\n%s", cgo, err, &stderr)
	}
	var packages []pkg
	for d := json.NewDecoder(bytes.NewReader(output)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// noteSources looks at all sources. The go command repeats the result of a test for
// as long as what the test has looked at is the same, and does not know what a
// program looks at that the test starts.
func noteSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && filepath.Dir(path) == root && slices.Contains([]string{".git", "bin", "dist", "test"}, entry.Name()) {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCgo: the worker alone has C in it.
func TestCgo(t *testing.T) {
	packages := list(t, "1", "./cmd/...", "./examples/...")
	withC := map[string]bool{}
	for _, p := range packages {
		withC[p.ImportPath] = !p.Standard && len(p.CgoFiles) > 0
	}
	workers := 0
	for _, p := range packages {
		if p.Name != "main" {
			continue
		}
		i := slices.IndexFunc(append(p.Deps, p.ImportPath), func(path string) bool { return withC[path] })
		switch isWorker := path.Base(p.ImportPath) == worker; {
		case isWorker && i < 0:
			t.Errorf("%s has no C in it, and cannot load a library", p.ImportPath)
		case isWorker:
			workers++
		case i >= 0:
			t.Errorf("%s would not be static: it has the package %s in it, which imports \"C\"", p.ImportPath, append(p.Deps, p.ImportPath)[i])
		}
	}
	if workers != 1 {
		t.Errorf("%d programs are the worker", workers)
	}
}

// TestWithoutCgo: nothing that the other programs import is there with cgo only.
func TestWithoutCgo(t *testing.T) {
	var programs []string
	for _, p := range list(t, "1", "./cmd/...", "./examples/...") {
		if p.Name == "main" && path.Base(p.ImportPath) != worker {
			programs = append(programs, p.ImportPath)
		}
	}
	if len(programs) == 0 {
		t.Fatal("there are no programs")
	}
	list(t, "0", programs...) // fails where a package has no file for this
}

// TestStatic: what has been built is as it should be.
func TestStatic(t *testing.T) {
	bin := filepath.Join(root, "bin")
	entries, err := os.ReadDir(bin)
	if err != nil {
		t.Skipf("NOT RUN: whether the programs are static: 'make bin' builds them: %v", err)
	}
	for _, entry := range entries {
		f, err := elf.Open(filepath.Join(bin, entry.Name()))
		if err != nil {
			continue // no program, such as a certificate
		}
		defer f.Close()
		interpreted := slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
		needed, err := f.ImportedLibraries()
		if err != nil {
			t.Errorf("bin/%s: %v", entry.Name(), err)
		}
		switch entry.Name() {
		case worker:
			if !interpreted {
				t.Errorf("bin/%s is static: it cannot load a library", worker)
			}
		case provider:
			if f.Type != elf.ET_DYN || interpreted {
				t.Errorf("bin/%s is no shared library", provider)
			}
		default:
			if interpreted || len(needed) > 0 {
				t.Errorf("bin/%s is not static: it needs %q", entry.Name(), needed)
			}
		}
	}
}
