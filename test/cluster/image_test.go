package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// buildPause builds a static program and returns its path.
func buildPause(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "pause")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./pause")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return binary
}

func TestImage(t *testing.T) {
	dir := t.TempDir()
	binary := buildPause(t)
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
		t.Error("the same binary produced two different images")
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

func TestImageRejectsScript(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeImage("a:b", defaultUser, script, filepath.Join(t.TempDir(), "image.tar")); err == nil {
		t.Error("a shell script was accepted")
	}
}

// buildGreeter builds a C program and its library, which it loads from its own
// directory.
func buildGreeter(t *testing.T) (program, library string) {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skipf("NOT RUN: images with dynamic programs: no C compiler: %v (Debian: apt-get install gcc libc6-dev)", err)
	}
	dir := t.TempDir()
	program, library = filepath.Join(dir, "greeter"), filepath.Join(dir, "libgreeting.so")
	for name, source := range map[string]string{
		"greeting.c": `const char *greeting(void) { return "hello"; }`,
		"greeter.c":  "#include <stdio.h>\nconst char *greeting(void);\nint main(void) { return puts(greeting()) < 0; }",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, arguments := range [][]string{
		{"-shared", "-fPIC", "-o", library, filepath.Join(dir, "greeting.c")},
		{"-o", program, filepath.Join(dir, "greeter.c"), "-L" + dir, "-lgreeting", "-Wl,-rpath,$ORIGIN"},
	} {
		if output, err := exec.CommandContext(t.Context(), gcc, arguments...).CombinedOutput(); err != nil {
			t.Fatalf("gcc %q: %v\n%s", arguments, err, output)
		}
	}
	return program, library
}

// unpack extracts an image's files into a directory and returns their modes by path.
func unpack(t *testing.T, tarFile, dir string) map[string]os.FileMode {
	t.Helper()
	image, err := tarball.ImageFromPath(tarFile, nil)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	modes := map[string]os.FileMode{}
	for r := tar.NewReader(content); ; {
		header, err := r.Next()
		if err == io.EOF {
			return modes
		}
		if err != nil {
			t.Fatal(err)
		}
		mode := header.FileInfo().Mode()
		modes["/"+header.Name] = mode
		target := filepath.Join(dir, header.Name)
		if mode.IsDir() {
			err = os.Mkdir(target, mode.Perm())
		} else {
			var data []byte
			if data, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(target, data, mode.Perm())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestImageOfDynamicProgram checks that the program runs with only the files of the
// image.
func TestImageOfDynamicProgram(t *testing.T) {
	program, library := buildGreeter(t)
	pause := buildPause(t)
	dir := t.TempDir()
	note := filepath.Join(dir, "note")
	if err := os.WriteFile(note, []byte("read me"), 0o640); err != nil {
		t.Fatal(err)
	}

	var images [2][]byte
	for i := range images {
		output := filepath.Join(dir, "image.tar")
		command := newCommand()
		command.SetArgs([]string{
			"image", "build", "--tag=confcom.invalid/greeter:test", "--output=" + output, "--env=A=x=y", "--env=LD_LIBRARY_PATH=/opt/greeter",
			"--add", program + "=/opt/greeter/greeter", "--add", library + "=/opt/greeter/libgreeting.so", "--add", note + "=/etc/note",
			"--add-libraries", program, "--add-libraries", library, pause,
		})
		if err := command.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(output)
		if err != nil {
			t.Fatal(err)
		}
		images[i] = content
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("the same files produced two different images")
	}

	image, err := tarball.ImageFromPath(filepath.Join(dir, "image.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(config.Config.Entrypoint, []string{"/pause"}) || !slices.Equal(config.Config.Env, []string{"A=x=y", "LD_LIBRARY_PATH=/opt/greeter"}) {
		t.Errorf("entrypoint %q, environment %q", config.Config.Entrypoint, config.Config.Env)
	}

	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	modes := unpack(t, filepath.Join(dir, "image.tar"), root)
	for path, want := range map[string]os.FileMode{
		"/pause": 0o755, "/opt/": os.ModeDir | 0o755, "/opt/greeter/greeter": 0o755, "/etc/note": 0o644,
	} {
		if modes[path] != want {
			t.Errorf("%s: mode %v, want %v", path, modes[path], want)
		}
	}
	for path := range modes {
		if path != "/opt/greeter/libgreeting.so" && strings.HasSuffix(path, "/libgreeting.so") {
			t.Errorf("an unused copy of the library at %s", path)
		}
	}
	if os.Geteuid() != 0 {
		t.Log("NOT RUN: the program in the image: chroot needs root")
		return
	}
	run := exec.CommandContext(t.Context(), "/opt/greeter/greeter")
	run.Env, run.Dir = config.Config.Env, "/" // $ORIGIN would need /proc
	run.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if output, err := run.CombinedOutput(); err != nil || string(output) != "hello\n" {
		t.Errorf("output of the program in the image: %q, %v", output, err)
	}
}

func TestImageRejectsFiles(t *testing.T) {
	program, library := buildGreeter(t)
	pause := buildPause(t)
	for name, c := range map[string]struct {
		files     []imageFile
		libraries []string
		want      string
	}{
		"relative target":       {files: []imageFile{{library, "opt/lib.so"}}, want: "absolute"},
		"target with dots":      {files: []imageFile{{library, "/opt/../lib.so"}}, want: "absolute"},
		"no target":             {files: []imageFile{{library, ""}}, want: "absolute"},
		"two files at one path": {files: []imageFile{{library, "/pause"}}, want: "is taken by"},
		"file at a directory":   {files: []imageFile{{library, "/opt/a"}, {program, "/opt"}}, want: "is taken by a directory"},
		"directory at a file":   {files: []imageFile{{library, "/opt"}, {program, "/opt/a"}}, want: "/opt is a file"},
		"no such file":          {files: []imageFile{{library + "x", "/a"}}, want: "no such file"},
		"a directory":           {files: []imageFile{{filepath.Dir(library), "/a"}}, want: "is not a regular file"},
		"static with libraries": {libraries: []string{pause}, want: "not a dynamic executable"},
	} {
		t.Run(name, func(t *testing.T) {
			output := filepath.Join(t.TempDir(), "image.tar")
			err := recipe{tag: "a:b", binary: pause, files: c.files, librariesOf: c.libraries}.write(output)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
			if _, err := os.Stat(output); err == nil {
				t.Error("an image was written despite the error")
			}
		})
	}

	if err := os.Remove(library); err != nil {
		t.Fatal(err)
	}
	err := recipe{tag: "a:b", binary: pause, librariesOf: []string{program}}.write(filepath.Join(t.TempDir(), "image.tar"))
	if err == nil || !strings.Contains(err.Error(), "libgreeting.so => not found") {
		t.Errorf("error %v, want the name of the missing library in it", err)
	}
	if err := writeImage("a:b", defaultUser, program, filepath.Join(t.TempDir(), "image.tar")); err == nil {
		t.Error("an image that runs a dynamic program was accepted")
	}
}
