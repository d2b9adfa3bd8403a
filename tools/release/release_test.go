package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// checkout returns a copy of this checkout, as if the commit were its own. Its files are
// from now.
func checkout(t *testing.T) source {
	t.Helper()
	root := filepath.Join("..", "..")
	files, err := output(t.Context(), root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.Trim(files, "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed, but not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return source{dir, strings.Repeat("c0ffee", 7)[:40], time.Unix(1795679039, 0).UTC()}
}

// umask changes the umask of this process until the test ends.
func umask(t *testing.T, mask int) {
	t.Helper()
	before := syscall.Umask(mask)
	t.Cleanup(func() { syscall.Umask(before) })
}

// standIns returns programs to assemble a release of that are quickly built: each is the
// same, which does nothing.
func standIns(t *testing.T) programs {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module github.com/confcom/confcom\n", "main.go": "package main\n\nfunc main() {}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := output(t.Context(), dir, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", "nothing"); err != nil {
		t.Fatal(err)
	}
	built := programsIn(filepath.Join(dir, "programs"), platforms...)
	for _, on := range platforms {
		for _, image := range images {
			file := built.path(image.name, on)
			if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(filepath.Join(dir, "nothing"), file); err != nil {
				t.Fatal(err)
			}
		}
	}
	return built
}

// standInRelease returns a release of stand-ins.
func standInRelease(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "release")
	if err := assemble(t.Context(), checkout(t), "", standIns(t), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestReproducible builds a program and a release of it twice: in other directories, from
// files with other modes and times, with another umask, at other times, and with settings
// of the user that would change what is built.
func TestReproducible(t *testing.T) {
	built := standIns(t)
	var before string
	for _, mask := range []int{0o022, 0o077} {
		umask(t, mask)
		from := checkout(t)
		if err := os.Remove(built.path("confcom", linuxAMD64)); err != nil {
			t.Fatal(err)
		}
		if err := built.build(t.Context(), from, linuxAMD64, images[:1]); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "release")
		if err := assemble(t.Context(), from, "registry.example:5000", built, dir); err != nil {
			t.Fatal(err)
		}
		after := list(t, dir)
		if before != "" && after != before {
			t.Errorf("the first release:\n%s\nthe second one:\n%s", before, after)
		}
		before = after
		t.Setenv("GOFLAGS", "-trimpath=false -tags=other")
		t.Setenv("GOAMD64", "v3")
		t.Setenv("TZ", "Pacific/Auckland")
	}
}

// list lists the files and directories of a release with their digests and modes.
func list(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		digest := "directory"
		if !entry.IsDir() {
			digest, err = fileDigest(path)
		}
		b.WriteString(digest + " " + info.Mode().String() + " " + strings.TrimPrefix(path, dir) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The platforms are those that the Makefile says are portable.
func TestPlatforms(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	listed := regexp.MustCompile(`(?m)^PORTABLE_TO := (.*)$`).FindSubmatch(text)
	if listed == nil {
		t.Fatal("the Makefile has no PORTABLE_TO")
	}
	var ours []string
	for _, on := range platforms {
		ours = append(ours, on.String())
	}
	if got := strings.Join(ours, " "); got != string(listed[1]) {
		t.Errorf("platforms are %s, PORTABLE_TO is %s", got, listed[1])
	}
}

// serve starts a registry on a loopback address and returns that.
func serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// TestPush pushes a release to a registry, and pulls everything back that its chart
// and its provenance name.
func TestPush(t *testing.T) {
	dir := standInRelease(t)
	host := serve(t)
	to := host + "/mirror"
	for range 2 { // the second time there is nothing to do
		if err := push(t.Context(), dir, to, t.Output()); err != nil {
			t.Fatal(err)
		}
	}

	// As helm pulls the chart.
	chart := pull(t, to+"/confcom/charts/confcom:0.1.0")
	manifest, err := chart.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if got := manifest.Config.MediaType; got != "application/vnd.cncf.helm.config.v1+json" {
		t.Errorf("the chart's configuration is %s", got)
	}
	layers, err := chart.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	values := unpack(t, content(t, layers[0]))["confcom/values.yaml"]

	// As the kubelet pulls the images.
	var pulled []string
	for _, m := range regexp.MustCompile(`repository: localhost/(\S+), tag: "", digest: "(\S+)"`).FindAllStringSubmatch(values, -1) {
		pulled = append(pulled, m[1])
		image := pull(t, to+"/"+m[1]+"@"+m[2])
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		program := "/" + filepath.Base(m[1])
		if !slices.Equal(config.Config.Entrypoint, []string{program}) || config.Config.User != "65532:65532" || config.Architecture != "amd64" {
			t.Errorf("%s: configuration %+v", m[1], config)
		}
		if tagged := digestOf(t, to+"/"+m[1]+":0.1.0"); tagged != m[2] {
			t.Errorf("%s: the tag has %s, the chart %s", m[1], tagged, m[2])
		}
		checkReferrer(t, to+"/"+m[1]+"@"+m[2])
	}
	want := []string{"confcom/sgx-device-plugin", "confcom/sgx-node-resource", "confcom/sgx-quote-helper", "confcom/confcom"}
	if !slices.Equal(pulled, want) {
		t.Errorf("the chart has digests of %q, want %q", pulled, want)
	}

	// What the provenance is about is there: as a file or in the registry.
	var about statement
	text, err := os.ReadFile(filepath.Join(dir, "provenance.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &about); err != nil {
		t.Fatal(err)
	}
	if got, want := len(about.Subject), 2*len(platforms)+len(images)+2; got != want {
		t.Errorf("the provenance has %d subjects, want %d", got, want)
	}
	for _, subject := range about.Subject {
		digest, err := fileDigest(filepath.Join(dir, subject.Name))
		if errors.Is(err, fs.ErrNotExist) {
			digest, err = strings.TrimPrefix(digestOf(t, to+"/"+subject.Name), "sha256:"), nil
		}
		if err != nil || digest != subject.Digest["sha256"] {
			t.Errorf("%s: the provenance has %s, it is %s, %v", subject.Name, subject.Digest["sha256"], digest, err)
		}
	}
}

// TestHelm installs from a registry with helm, as far as that goes without a cluster.
func TestHelm(t *testing.T) {
	if _, err := exec.LookPath("helm"); err != nil {
		t.Skip("helm is not on the PATH: the chart is not pulled with helm (bin/cluster env has it)")
	}
	dir := standInRelease(t)
	to := serve(t) + "/mirror"
	if err := push(t.Context(), dir, to, io.Discard); err != nil {
		t.Fatal(err)
	}
	manifests, err := output(t.Context(), dir, "helm", "template", "confcom", "oci://"+to+"/confcom/charts/confcom", "--version", "0.1.0", "--plain-http",
		"--kube-version", "1.37", "--set", "platform=simulated,global.imageRegistry="+to)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^ *image: (.*)$`).FindAllStringSubmatch(manifests, -1)
	if len(found) == 0 {
		t.Fatal("the manifests have no images")
	}
	for _, m := range found {
		if !regexp.MustCompile("^" + regexp.QuoteMeta(to) + "/confcom/[a-z-]+@sha256:[0-9a-f]{64}$").MatchString(m[1]) {
			t.Errorf("image %s is not one of that registry, by digest", m[1])
			continue
		}
		pull(t, m[1])
	}
}

// pull pulls an image with all of its layers, for linux/amd64.
func pull(t *testing.T, ref string) v1.Image {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(parsed, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		content(t, layer) // the library checks the digest
	}
	return image
}

func content(t *testing.T, layer v1.Layer) []byte {
	t.Helper()
	r, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func digestOf(t *testing.T, ref string) string {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Head(parsed)
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest.String()
}

// checkReferrer checks that a registry knows the SBOM of an image.
func checkReferrer(t *testing.T, ref string) {
	t.Helper()
	digest, err := name.NewDigest(ref)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Referrers(digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].ArtifactType != "application/spdx+json" {
		t.Errorf("%s: the referrers are %+v, not one SBOM", ref, manifest.Manifests)
	}
}

// unpack returns the files of an archive.
func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for r := tar.NewReader(z); ; {
		header, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(text)
	}
}

// TestPushRefuses checks that nothing is pushed that is damaged, or over another release.
func TestPushRefuses(t *testing.T) {
	dir := standInRelease(t)
	to := serve(t)
	if err := push(t.Context(), dir, to, io.Discard); err != nil {
		t.Fatal(err)
	}

	other := filepath.Join(t.TempDir(), "release")
	from := checkout(t)
	from.time = from.time.Add(time.Second)
	if err := assemble(t.Context(), from, "", standIns(t), other); err != nil {
		t.Fatal(err)
	}
	if err := push(t.Context(), other, to, io.Discard); err == nil || !strings.Contains(err.Error(), "exists with another digest") {
		t.Errorf("another release with the same version: %v", err)
	}

	if err := os.WriteFile(filepath.Join(dir, "oci", "index.json"), []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := push(t.Context(), dir, to, io.Discard); err == nil || !strings.Contains(err.Error(), "oci/index.json: SHA-256 is ") {
		t.Errorf("a damaged release: %v", err)
	}
	if err := push(t.Context(), t.TempDir(), to, io.Discard); err == nil || !strings.Contains(err.Error(), "is not a release") {
		t.Errorf("an empty directory: %v", err)
	}
}

// TestCommitted checks that a release is built from a commit and nothing else.
func TestCommitted(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		command := exec.Command("git", append([]string{"-c", "user.name=test", "-c", "user.email=test@example.org"}, args...)...)
		command.Dir = dir
		command.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-11-26T10:00:00+13:00")
		if text, err := command.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v: %s", args, err, text)
		}
	}
	git("init", "-q")
	git("commit", "-q", "--allow-empty", "-m", "first")
	from, err := committed(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 11, 25, 21, 0, 0, 0, time.UTC); len(from.commit) != 40 || !from.time.Equal(want) || from.time.Location() != time.UTC {
		t.Errorf("commit %q of %s, want that of %s", from.commit, from.time, want)
	}
	if err := os.WriteFile(filepath.Join(dir, "new.go"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	ignored := filepath.Join(t.TempDir(), "ignored")
	if err := os.WriteFile(ignored, []byte("*.go\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	git("config", "status.showUntrackedFiles", "no")
	git("config", "core.excludesFile", ignored)
	if _, err := committed(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "?? new.go") {
		t.Errorf("a file that is not committed: %v", err)
	}
	if _, err := committed(t.Context(), t.TempDir()); err == nil {
		t.Error("a directory without a repository is accepted")
	}
}

// TestSetImages checks that a value that cannot be set is an error: the chart would name
// no digest.
func TestSetImages(t *testing.T) {
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	const values = "global:\n  imageRegistry: \"\"\na:\n  image: {repository: localhost/confcom/a, tag: \"\", digest: \"\"}\n"
	got, err := setImages([]byte(values), "registry.example:5000", map[string]v1.Hash{"a": digest})
	want := "global:\n  imageRegistry: \"registry.example:5000\"\na:\n  image: {repository: localhost/confcom/a, tag: \"\", digest: \"" + digest.String() + "\"}\n"
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	for name, text := range map[string]string{
		"no such image": strings.ReplaceAll(values, "confcom/a", "confcom/ab"),
		"two of them":   values + values,
		"no registry":   strings.ReplaceAll(values, "imageRegistry", "registry"),
	} {
		if _, err := setImages([]byte(text), "registry.example", map[string]v1.Hash{"a": digest}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestSBOM checks an SBOM's identifiers, and that it has what this test is linked from.
func TestSBOM(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := sbom(source{time: time.Unix(0, 0).UTC()}, "test", "APPLICATION", strings.Repeat("0", 64), "0.1.0", []string{self})
	if err != nil {
		t.Fatal(err)
	}
	var document spdxDocument
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{documentID: true}
	var locators []string
	for _, p := range document.Packages {
		if ids[p.ID] || !regexp.MustCompile(`^SPDXRef-[A-Za-z0-9.-]+$`).MatchString(p.ID) {
			t.Errorf("the identifier %s is used twice or invalid", p.ID)
		}
		ids[p.ID] = true
		for _, r := range p.References {
			locators = append(locators, r.Locator)
		}
	}
	for _, r := range document.Relationships {
		if !ids[r.Element] || !ids[r.Related] {
			t.Errorf("the relationship %+v is with no package", r)
		}
	}
	for _, want := range []string{"pkg:golang/stdlib@1.", "pkg:golang/github.com/google/go-containerregistry@v"} {
		if !slices.ContainsFunc(locators, func(l string) bool { return strings.HasPrefix(l, want) }) {
			t.Errorf("no %s among %q", want, locators)
		}
	}
}
