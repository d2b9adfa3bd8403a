package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// imageSpec describes an image, which runs the program of its name.
type imageSpec struct {
	name        string
	description string
	platforms   []platform
}

// images are those of a release. Each also has confcom, so that 'kubectl exec ... confcom
// doctor' works in every pod. Nodes with SGX are amd64; verifiers need not run there.
var images = []imageSpec{
	{"confcom", "Verifies attestation quotes of SGX enclaves and TDX trust domains", []platform{linuxAMD64, linuxARM64}},
	{"sgx-device-plugin", "Advertises the EPC and the SGX devices of a Kubernetes node", []platform{linuxAMD64}},
	{"sgx-node-resource", "Writes the EPC of a Kubernetes node into its status", []platform{linuxAMD64}},
	{"sgx-quote-helper", "Serves attestation quotes to the SGX enclaves of a Kubernetes node", []platform{linuxAMD64}},
}

func (s imageSpec) runsOn(p platform) bool { return slices.Contains(s.platforms, p) }

// programs returns the names of the programs in the image.
func (s imageSpec) programs() []string {
	if s.name == "confcom" {
		return []string{"confcom"}
	}
	return []string{s.name, "confcom"}
}

// annotations returns what a registry shows of the image.
func (s imageSpec) annotations(from source, version string) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       s.name,
		"org.opencontainers.image.description": s.description,
		"org.opencontainers.image.source":      repository,
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     version,
		"org.opencontainers.image.revision":    from.commit,
		"org.opencontainers.image.created":     from.time.Format(time.RFC3339),
	}
}

// build returns the image: an index with an image for each platform, even if that is one,
// so that another one can be added.
func (s imageSpec) build(from source, version string, built programs) (v1.ImageIndex, error) {
	annotations := s.annotations(from, version)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, on := range s.platforms {
		var layers []mutate.Addendum
		for _, program := range s.programs() {
			layer, err := programLayer(built.path(program, on), program, from.time)
			if err != nil {
				return nil, fmt.Errorf("layer of %s: %w", program, err)
			}
			layers = append(layers, mutate.Addendum{Layer: layer, MediaType: types.OCILayer,
				History: v1.History{Created: v1.Time{Time: from.time}, CreatedBy: "COPY " + program + " /"}})
		}
		image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
		image, err := mutate.Append(image, layers...)
		if err != nil {
			return nil, err
		}
		config, err := image.ConfigFile()
		if err != nil {
			return nil, err
		}
		config.OS, config.Architecture = on.os, on.arch
		config.Created = v1.Time{Time: from.time}
		config.Config = v1.Config{
			Entrypoint: []string{"/" + s.name},
			Env:        []string{"PATH=/"},
			User:       "65532:65532", // an unprivileged user, so that a pod passes runAsNonRoot
			Labels:     annotations,
		}
		if image, err = mutate.ConfigFile(image, config); err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        mutate.Annotations(image, annotations).(v1.Image),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: on.os, Architecture: on.arch}},
		})
	}
	return mutate.Annotations(index, annotations).(v1.ImageIndex), nil
}

// programLayer returns a layer with one program, which root owns and everyone can run.
func programLayer(file, name string, modified time.Time) (v1.Layer, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := writeFile(w, name, 0o755, modified, content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer),
		tarball.WithCompressionLevel(gzip.DefaultCompression), tarball.WithCompressedCaching)
}

// writeFile writes a file of root into an archive.
func writeFile(w *tar.Writer, name string, mode int64, modified time.Time, content []byte) error {
	header := &tar.Header{Name: name, Mode: mode, Size: int64(len(content)), ModTime: modified, Format: tar.FormatUSTAR}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}
