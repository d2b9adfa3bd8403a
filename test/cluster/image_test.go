package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestImage(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "pause")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./pause")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	var images [2][]byte
	for i, name := range []string{"first.tar", "second.tar"} {
		path := filepath.Join(dir, name)
		if err := writeImage("confcom.invalid/pause:test", "1:2", binary, path); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		images[i] = content
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("the same binary gave two different images")
	}

	image, err := tarball.ImageFromPath(filepath.Join(dir, "first.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != runtime.GOARCH {
		t.Errorf("platform %s/%s: containerd would not import it", config.OS, config.Architecture)
	}
	if got := config.Config.Entrypoint; len(got) != 1 || got[0] != "/pause" {
		t.Errorf("entrypoint %q", got)
	}
	if config.Config.User != "1:2" {
		t.Errorf("user %q", config.Config.User)
	}
}

func TestImageRefusesWhatIsNoStaticBinary(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeImage("a:b", defaultUser, script, filepath.Join(t.TempDir(), "image.tar")); err == nil {
		t.Error("a shell script was accepted")
	}
}
