// Package linking tests what packages import and what programs are linked with.
//
// All programs but one are static, so that their images contain nothing else and no
// library of a node can affect them. The exception is sgx-quote-worker, which loads
// Intel's libraries.
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
	"regexp"
	"slices"
	"testing"
)

const (
	root   = "../.." // the checkout
	module = "github.com/confcom/confcom"
	worker = "sgx-quote-worker"
	// provider is the provider shim, which Intel's library loads in the worker.
	provider = "libconfcom_provider.so"
)

// pkg is a package as 'go list' describes it.
type pkg struct {
	ImportPath string
	Dir        string
	Name       string
	Standard   bool
	Module     *struct{ Path string }
	CgoFiles   []string // files that import "C"
	Imports    []string // direct imports
	Deps       []string // direct and indirect imports
}

// list returns packages and all that they import, with CGO_ENABLED=cgo.
func list(t *testing.T, cgo string, patterns ...string) []pkg {
	t.Helper()
	noteSources(t)
	command := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps", "-json=ImportPath,Dir,Name,Standard,Module,CgoFiles,Imports,Deps"}, patterns...)...)
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

// noteSources reads the directories of all sources. The go command reuses a test's
// result as long as the files that the test has read are unchanged, and does not know
// which files are read by the programs that the test runs.
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

// TestCgo checks that the worker contains C code and the other programs do not.
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
			t.Errorf("%s has no package that imports \"C\", and so cannot load a library", p.ImportPath)
		case isWorker:
			workers++
		case i >= 0:
			t.Errorf("%s would not be static: its package %s imports \"C\"", p.ImportPath, append(p.Deps, p.ImportPath)[i])
		}
	}
	if workers != 1 {
		t.Errorf("found %d programs named %s, want 1", workers, worker)
	}
}

// TestWithoutCgo checks that the other programs import no package that needs cgo.
func TestWithoutCgo(t *testing.T) {
	var programs []string
	for _, p := range list(t, "1", "./cmd/...", "./examples/...") {
		if p.Name == "main" && path.Base(p.ImportPath) != worker {
			programs = append(programs, p.ImportPath)
		}
	}
	if len(programs) == 0 {
		t.Fatal("found no programs")
	}
	list(t, "0", programs...) // fails if a package has no files without cgo
}

// TestVersion checks that the variable into which builds link the version exists: the
// linker ignores one that does not.
func TestVersion(t *testing.T) {
	for _, file := range []string{"Makefile", "images/sgx-quote-helper-dcap/Dockerfile"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		flag := regexp.MustCompile(`-X ` + module + `/([^. ]+)\.(\w+)=`).FindSubmatch(text)
		if flag == nil {
			t.Errorf("%s links no version into the programs", file)
			continue
		}
		sources, err := filepath.Glob(filepath.Join(root, string(flag[1]), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		declaration := regexp.MustCompile(`(?m)^var ` + string(flag[2]) + ` string\b`)
		if !slices.ContainsFunc(sources, func(source string) bool {
			text, err := os.ReadFile(source)
			return err == nil && declaration.Match(text)
		}) {
			t.Errorf("%s links the version into %s.%s, which does not exist", file, flag[1], flag[2])
		}
	}
}

// TestStatic checks how the programs in bin are linked.
func TestStatic(t *testing.T) {
	bin := filepath.Join(root, "bin")
	entries, err := os.ReadDir(bin)
	if err != nil {
		t.Skipf("NOT RUN: the check that the programs are static needs 'make bin': %v", err)
	}
	for _, entry := range entries {
		f, err := elf.Open(filepath.Join(bin, entry.Name()))
		if err != nil {
			continue // not a program, such as a certificate
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
				t.Errorf("bin/%s is static, and so cannot load a library", worker)
			}
		case provider:
			if f.Type != elf.ET_DYN || interpreted {
				t.Errorf("bin/%s is not a shared library", provider)
			}
		default:
			if interpreted || len(needed) > 0 {
				t.Errorf("bin/%s is not static: it needs the libraries %q", entry.Name(), needed)
			}
		}
	}
}
