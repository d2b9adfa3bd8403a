package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestTrial checks that what is built of uncommitted files is for one platform, claims no
// origin, and is pushed to loopback addresses only.
func TestTrial(t *testing.T) {
	from := checkout(t)
	from.commit = ""
	built := standIns(t)
	built.platforms = []platform{linuxAMD64}
	dir := filepath.Join(t.TempDir(), "trial")
	if err := assemble(t.Context(), from, "", built, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, provenanceFile)); err == nil {
		t.Error("it has a provenance")
	}
	if err := push(t.Context(), dir, serve(t), io.Discard); err != nil {
		t.Error(err)
	}
	for _, registry := range []string{"registry.example.org", "registry.example.org:5000/mirror", "localhost.example.org", "192.0.2.1:5000"} {
		if err := push(t.Context(), dir, registry, io.Discard); err == nil || !strings.Contains(err.Error(), "build the release from a commit") {
			t.Errorf("%s: %v", registry, err)
		}
	}
}

// TestWriteImages checks that the images for developers are those of a release, under the
// names that the chart has.
func TestWriteImages(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	built := standIns(t)
	for _, spec := range images {
		if err := os.Link(built.path(spec.name, linuxAMD64), filepath.Join(bin, spec.name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeImages(checkout(t), bin, dir); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != len(images) {
		t.Fatalf("%d files, %v, want %d", len(files), err, len(images))
	}
	for _, spec := range images {
		tag, err := name.NewTag("localhost/confcom/" + spec.name + ":0.1.0")
		if err != nil {
			t.Fatal(err)
		}
		image, err := tarball.ImageFromPath(filepath.Join(dir, spec.name+".tar"), &tag)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.OS != "linux" || len(config.RootFS.DiffIDs) != len(spec.programs()) || config.Config.Entrypoint[0] != "/"+spec.name {
			t.Errorf("%s: %+v", spec.name, config)
		}
	}
	to, file := serve(t)+"/mine/confcom:1", filepath.Join(dir, "confcom.tar")
	for range 2 {
		if err := pushImage(t.Context(), file, to, io.Discard); err != nil {
			t.Error(err)
		}
	}
	pull(t, to)
	if err := pushImage(t.Context(), filepath.Join(dir, "sgx-quote-helper.tar"), to, io.Discard); err == nil || !strings.Contains(err.Error(), "exists with another digest") {
		t.Errorf("another image with the same tag: %v", err)
	}
	if err := writeImages(checkout(t), t.TempDir(), dir); err == nil {
		t.Error("images of programs that do not exist are written")
	}
}

// TestRegistry pushes to a registry of serveRegistry, which ends with its context, and
// serves at no address that others reach.
func TestRegistry(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var requests strings.Builder
	ended := make(chan error)
	go func() { ended <- serveRegistry(ctx, "127.0.0.1:0", in, &requests) }()
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pushed := push(t.Context(), standInRelease(t), strings.TrimSpace(address), io.Discard)
	stop()
	if err := <-ended; err != nil || pushed != nil {
		t.Errorf("it ends with %v; push: %v", err, pushed)
	}
	if !strings.Contains(requests.String(), "PUT /v2/confcom/confcom/manifests/0.1.0 go-containerregistry/") {
		t.Errorf("the requests are: %s", &requests)
	}
	if err := serveRegistry(t.Context(), "0.0.0.0:0", io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "is not a loopback address") {
		t.Errorf("at all addresses: %v", err)
	}
}
