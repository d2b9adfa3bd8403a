package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
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
	source      string // the package of the program
	inChart     bool   // whether the chart's values name the image
	platforms   []platform
}

// images are those of a release: this is the only place that knows them. Each also has
// confcom, so that 'kubectl exec ... confcom doctor' works in every pod. Nodes with SGX are
// amd64; verifiers need not run there.
var images = []imageSpec{
	{"confcom", "Verifies attestation quotes of SGX enclaves and TDX trust domains", "./cmd/confcom", true, []platform{linuxAMD64, linuxARM64}},
	{"sgx-device-plugin", "Advertises the EPC and the SGX devices of a Kubernetes node", "./cmd/sgx-device-plugin", true, []platform{linuxAMD64}},
	{"sgx-node-resource", "Writes the EPC of a Kubernetes node into its status", "./cmd/sgx-node-resource", true, []platform{linuxAMD64}},
	{"sgx-quote-helper", "Serves attestation quotes to the SGX enclaves of a Kubernetes node", "./cmd/sgx-quote-helper", true, []platform{linuxAMD64}},
	{"attested-job", "A sample: a confidential job that gets a quote of itself", "./examples/attested-job", false, []platform{linuxAMD64}},
	{"attested-service", "A sample: a service that gets a secret only in the right enclave", "./examples/attested-service", false, []platform{linuxAMD64}},
	{"relying-party", "A sample: verifies the quote of attested-service and gives it a secret", "./examples/attested-service/relying-party", false, []platform{linuxAMD64, linuxARM64}},
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
	annotations := map[string]string{
		"org.opencontainers.image.title":       s.name,
		"org.opencontainers.image.description": s.description,
		"org.opencontainers.image.source":      repository,
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     version,
		"org.opencontainers.image.created":     from.time.Format(time.RFC3339),
	}
	if from.commit != "" {
		annotations["org.opencontainers.image.revision"] = from.commit
	}
	return annotations
}

// build returns the image: an index with an image for each platform, even if that is one,
// so that another one can be added.
func (s imageSpec) build(from source, version string, built programs) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, on := range built.platformsOf(s) {
		image, err := s.buildFor(on, from, version, built)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: on.os, Architecture: on.arch}},
		})
	}
	return mutate.Annotations(index, s.annotations(from, version)).(v1.ImageIndex), nil
}

// buildFor returns the image for one platform.
func (s imageSpec) buildFor(on platform, from source, version string, built programs) (v1.Image, error) {
	annotations := s.annotations(from, version)
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
	return mutate.Annotations(image, annotations).(v1.Image), nil
}

// writeImages writes the images of what is in the directory bin as tarballs into dir, for
// developers: under the names that the chart has without a registry, for this machine. The
// same programs give the same bytes.
func writeImages(from source, bin, dir string) error {
	chart, err := from.chart()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	from.time = time.Unix(0, 0).UTC()
	on := platform{"linux", runtime.GOARCH}
	built := programs{path: func(name string, _ platform) string { return filepath.Join(bin, name) }}
	for _, spec := range images {
		image, err := spec.buildFor(on, from, chart.Version, built)
		if err != nil {
			return fmt.Errorf("image %s: %w", spec.name, err)
		}
		tag, err := name.NewTag("localhost/confcom/" + spec.name + ":" + chart.Version)
		if err != nil {
			return err
		}
		// An interruption must not leave an incomplete file.
		file := filepath.Join(dir, spec.name+".tar")
		if err := tarball.WriteToFile(file+".partial", tag, image); err != nil {
			return fmt.Errorf("write image %s: %w", spec.name, err)
		}
		if err := os.Rename(file+".partial", file); err != nil {
			return err
		}
	}
	return nil
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
