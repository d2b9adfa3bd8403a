package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"debug/elf"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// defaultUser is an unprivileged user, so that a pod passes runAsNonRoot.
const defaultUser = "65532:65532"

// imageFile is a file in an image.
type imageFile struct {
	source string // on this machine
	target string // in the image: an absolute path
}

// recipe describes an image.
type recipe struct {
	tag  string
	user string
	env  []string // each KEY=VALUE

	binary string // a static program, which the image runs from / by its base name
	files  []imageFile
	// librariesOf are programs and shared libraries. The libraries that they need are
	// added at the paths that they have on this machine.
	librariesOf []string
}

// writeImage writes the tarball of an image with a static binary and nothing else.
func writeImage(tag, user, binary, output string) error {
	return recipe{tag: tag, user: user, binary: binary}.write(output)
}

// write writes the tarball of the image. The same files produce the same bytes.
func (r recipe) write(output string) error {
	ref, err := name.NewTag(r.tag)
	if err != nil {
		return fmt.Errorf("parse image name: %w", err)
	}
	if err := checkStatic(r.binary); err != nil {
		return err
	}
	entrypoint := "/" + filepath.Base(r.binary)
	files := append([]imageFile{{r.binary, entrypoint}}, r.files...)
	libraries, err := librariesOf(r.librariesOf, files)
	if err != nil {
		return err
	}
	layer, err := fileLayer(append(files, libraries...))
	if err != nil {
		return fmt.Errorf("build image %s: %w", r.tag, err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return fmt.Errorf("build image %s: %w", r.tag, err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return fmt.Errorf("build image %s: %w", r.tag, err)
	}
	// Without a platform, containerd takes the image for one of another architecture and
	// imports nothing.
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	config.Config.Entrypoint = []string{entrypoint}
	config.Config.User = r.user
	config.Config.Env = r.env
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return fmt.Errorf("build image %s: %w", r.tag, err)
	}

	// An interruption must not leave an incomplete file.
	partial := output + ".partial"
	defer os.Remove(partial)
	if err := tarball.WriteToFile(partial, ref, image); err != nil {
		return fmt.Errorf("write image %s: %w", output, err)
	}
	return os.Rename(partial, output)
}

// checkStatic rejects a binary that needs a dynamic linker: in an image without one it
// would fail with "no such file or directory".
func checkStatic(binary string) error {
	f, err := elf.Open(binary)
	if err != nil {
		return fmt.Errorf("%s is not a Linux program: %w", binary, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically, but an image runs a static program: build it with CGO_ENABLED=0", binary)
		}
	}
	return nil
}

// fileLayer returns a layer with the files and their directories, all owned by root.
// Files that are executable on this machine are executable by everyone in the image.
func fileLayer(files []imageFile) (v1.Layer, error) {
	entries := map[string]imageFile{} // no source: a directory
	for _, f := range files {
		if !path.IsAbs(f.target) || path.Clean(f.target) != f.target || f.target == "/" {
			return nil, fmt.Errorf("add %s at %q: not an absolute and clean path of a file", f.source, f.target)
		}
		if other, taken := entries[f.target]; taken {
			return nil, fmt.Errorf("add %s at %s: the path is taken by %s", f.source, f.target, cmp.Or(other.source, "a directory"))
		}
		entries[f.target] = f
		for dir := path.Dir(f.target); dir != "/"; dir = path.Dir(dir) {
			if other := entries[dir]; other.source != "" {
				return nil, fmt.Errorf("add %s at %s: %s is a file, %s", f.source, f.target, dir, other.source)
			}
			entries[dir] = imageFile{target: dir}
		}
	}

	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, target := range slices.Sorted(maps.Keys(entries)) {
		if err := writeEntry(w, entries[target]); err != nil {
			return nil, fmt.Errorf("write layer: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write layer: %w", err)
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b.Bytes())), nil
	})
}

// writeEntry writes a file, or a directory if the entry has no source.
func writeEntry(w *tar.Writer, f imageFile) error {
	header := &tar.Header{Name: strings.TrimPrefix(f.target, "/"), Mode: 0o755, ModTime: time.Unix(0, 0)}
	if f.source == "" {
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
		return w.WriteHeader(header)
	}
	info, err := os.Stat(f.source)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: add files one by one", f.source)
	}
	content, err := os.ReadFile(f.source)
	if err != nil {
		return err
	}
	if info.Mode()&0o111 == 0 {
		header.Mode = 0o644
	}
	header.Size = int64(len(content))
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}
