package linking

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// layers are the rooms of the house, from top to bottom. A room is a directory with all
// directories in it that are not rooms themselves. Packages import packages of their own
// room and of rooms on lower lines only.
var layers = []string{
	"cmd examples images test",
	"internal/cli",
	"internal/deviceplugin internal/manifest internal/nodestatus internal/nodelabel internal/quotehelper internal/verifyserver internal/doctor internal/installation internal/loadgen internal/epcflags",
	"internal/backend",
	"internal/quoting internal/enclavememory",
	"internal/epc internal/nodeguard internal/peer internal/qcnl internal/daemon internal/reload",
	"internal/node internal/buildinfo internal/backend/dcap/pool",
	"attest",
	"evidence",
	"internal/strictjson",
	"aesm",
	"quote",
	"tdx",
	"sgx",
	"internal/cachedir",
}

// public are the packages for other modules, each with the modules that it may depend on.
// None of these has to do with Kubernetes, metrics, flags or logs, so that any program can
// import one of the packages alone.
var public = map[string][]string{
	"sgx":               nil,
	"sgx/simulation":    {"github.com/tink-crypto/tink-go/v2", "golang.org/x/crypto"},
	"tdx":               nil,
	"quote":             nil,
	"aesm":              {"google.golang.org/protobuf", "golang.org/x/sys"},
	"evidence":          {"github.com/fxamacker/cbor/v2", "github.com/x448/float16"},
	"attest":            nil,
	"attest/pcs":        {"github.com/cenkalti/backoff/v5", "golang.org/x/sync"},
	"attest/verify":     {"github.com/fxamacker/cbor/v2", "github.com/x448/float16"},
	"attest/ratls":      {"github.com/fxamacker/cbor/v2", "github.com/x448/float16"},
	"attest/challenge":  nil,
	"attest/ear":        {"github.com/go-jose/go-jose/v4"},
	"attest/attesttest": {"github.com/tink-crypto/tink-go/v2", "golang.org/x/crypto"},
}

// nameless matches elements of paths that do not say what a package is about.
var nameless = regexp.MustCompile(`^(utils?|common|helpers?|misc|shared|pkg)$`)

// ours returns the packages of this module, by their paths in it.
func ours(t *testing.T) map[string]pkg {
	t.Helper()
	packages := make(map[string]pkg)
	for _, p := range list(t, "1", "./...") {
		if name, found := strings.CutPrefix(p.ImportPath, module+"/"); found {
			packages[name] = p
		}
	}
	return packages
}

// TestLayers checks that imports run downwards.
func TestLayers(t *testing.T) {
	line := make(map[string]int) // by room
	for i, rooms := range layers {
		for room := range strings.FieldsSeq(rooms) {
			line[room] = i
		}
	}
	roomOf := func(name string) (room string, found bool) {
		for room = name; room != "."; room = path.Dir(room) {
			if _, found := line[room]; found {
				return room, true
			}
		}
		return "", false
	}

	packages := ours(t)
	inhabited := make(map[string]bool)
	for name, p := range packages {
		room, found := roomOf(name)
		if !found {
			t.Errorf("%s is in no room: add it to layers, above all that it imports and below all that imports it", name)
			continue
		}
		inhabited[room] = true
		for _, imported := range p.Imports {
			below, found := roomOf(strings.TrimPrefix(imported, module+"/"))
			if packages[strings.TrimPrefix(imported, module+"/")].ImportPath != imported || !found {
				continue
			}
			if below != room && line[below] <= line[room] {
				t.Errorf("%s imports %s, but room %s is not below room %s", name, imported, below, room)
			}
		}
		for element := range strings.SplitSeq(name, "/") {
			if nameless.MatchString(element) {
				t.Errorf("%s: %q does not say what the package is about", name, element)
			}
		}
	}
	for room := range line {
		if !inhabited[room] {
			t.Errorf("room %s has no package: remove it from layers", room)
		}
	}
}

// TestPublicDependencies checks which modules a program gets with each public package.
func TestPublicDependencies(t *testing.T) {
	notPublic := regexp.MustCompile(`^(cmd|examples|images|test)/|^images$|(^|/)internal(/|$)`)
	modules := make(map[string]string) // by import path of a package
	for _, p := range list(t, "1", "./...") {
		if p.Module != nil {
			modules[p.ImportPath] = p.Module.Path
		}
	}
	for name, p := range ours(t) {
		allowed, found := public[name]
		switch {
		case notPublic.MatchString(name):
			continue
		case !found:
			t.Errorf("%s is a public package: add it to public", name)
		}
		for _, imported := range p.Imports {
			if imported == "flag" || imported == "log" || imported == "log/slog" {
				t.Errorf("%s imports %s", name, imported)
			}
		}
		const fakeIntel = "attest/attesttest"
		if name != fakeIntel && slices.Contains(p.Deps, module+"/"+fakeIntel) {
			t.Errorf("%s depends on %s, which is for tests", name, fakeIntel)
		}
		unwanted := make(map[string]bool)
		for _, dependency := range p.Deps {
			if from := modules[dependency]; from != "" && from != module && !slices.Contains(allowed, from) {
				unwanted[from] = true
			}
		}
		for from := range unwanted {
			t.Errorf("%s depends on module %s: if it must, add the module to public", name, from)
		}
	}
}

// TestExamplesOutside checks that another module can compile and run the examples of the
// public packages.
func TestExamplesOutside(t *testing.T) {
	goMod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	goSum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	checkout, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.Replace(string(goMod), "module "+module+"\n", "module example.com/outside\n", 1)
	text += "\nrequire " + module + " v0.0.0\n\nreplace " + module + " => " + checkout + "\n"
	write("go.mod", []byte(text))
	write("go.sum", goSum)

	packages := ours(t)
	for name := range public {
		examples, err := filepath.Glob(filepath.Join(packages[name].Dir, "example*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, example := range examples {
			data, err := os.ReadFile(example)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(data), "\nfunc Example")
			write(filepath.Join(name, filepath.Base(example)), data)
		}
		if !found {
			t.Errorf("%s has no example", name)
		}
	}
	command := exec.CommandContext(t.Context(), "go", "test", "./...")
	command.Dir = dir
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("go test: %v\n%s", err, output)
	}
}
