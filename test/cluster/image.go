package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// defaultUser is nobody in particular, so a pod passes runAsNonRoot.
const defaultUser = "65532:65532"

// writeImage wraps one static binary into an image with nothing else in it and
// writes that as a tarball. The same binary gives the same bytes.
func writeImage(tag, user, binary, output string) error {
	ref, err := name.NewTag(tag)
	if err != nil {
		return fmt.Errorf("image name: %w", err)
	}
	if err := checkStatic(binary); err != nil {
		return err
	}
	layer, err := binaryLayer(binary)
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return fmt.Errorf("image %s: %w", tag, err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return fmt.Errorf("image %s: %w", tag, err)
	}
	// Without a platform containerd takes the image for another machine's and
	// imports nothing.
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	config.Config.Entrypoint = []string{"/" + filepath.Base(binary)}
	config.Config.User = user
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return fmt.Errorf("image %s: %w", tag, err)
	}

	// An interruption leaves no half image under the name asked for.
	partial := output + ".partial"
	defer os.Remove(partial)
	if err := tarball.WriteToFile(partial, ref, image); err != nil {
		return fmt.Errorf("write image %s: %w", output, err)
	}
	return os.Rename(partial, output)
}

// checkStatic refuses a binary that needs a dynamic linker: in an image
// without one it fails with a mere "no such file or directory".
func checkStatic(binary string) error {
	f, err := elf.Open(binary)
	if err != nil {
		return fmt.Errorf("%s is no Linux program: %w", binary, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically and cannot run in an image of its own; build it with CGO_ENABLED=0", binary)
		}
	}
	return nil
}

func binaryLayer(binary string) (v1.Layer, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("read the binary: %w", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	header := &tar.Header{Name: filepath.Base(binary), Mode: 0o755, Size: int64(len(content)), ModTime: time.Unix(0, 0)}
	if err := w.WriteHeader(header); err != nil {
		return nil, fmt.Errorf("layer of %s: %w", binary, err)
	}
	if _, err := w.Write(content); err != nil {
		return nil, fmt.Errorf("layer of %s: %w", binary, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("layer of %s: %w", binary, err)
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b.Bytes())), nil
	})
}
