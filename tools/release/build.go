package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// refName is the annotation by which the index of an OCI layout names what it has: here
// the repository below a registry, with a tag unless it is only about something else.
const refName = "org.opencontainers.image.ref.name"

// build writes a release into dir, which it replaces once the release is complete.
func build(ctx context.Context, from source, registry, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	on := platforms
	if from.commit == "" {
		on = []platform{linuxAMD64}
	}
	built, err := buildPrograms(ctx, from, filepath.Join(work, "programs"), on...)
	if err != nil {
		return err
	}
	done := filepath.Join(work, "release")
	if err := assemble(ctx, from, registry, built, done); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(done, dir)
}

// assemble writes into dir a release of what was built.
func assemble(ctx context.Context, from source, registry string, built programs, dir string) error {
	chart, err := from.chart()
	if err != nil {
		return err
	}
	goVersion, err := output(ctx, from.dir, "go", "env", "GOVERSION")
	if err != nil {
		return err
	}
	r := release{from: from, version: chart.Version, dir: dir}

	for _, on := range built.platforms {
		if err := r.addCommand(built, on); err != nil {
			return err
		}
	}
	if err := r.addPlugin(built); err != nil {
		return fmt.Errorf("plugin of kubectl: %w", err)
	}
	digests := make(map[string]v1.Hash)
	for _, spec := range images {
		digest, err := r.addImage(built, spec)
		if err != nil {
			return fmt.Errorf("image %s: %w", spec.name, err)
		}
		if spec.inChart {
			digests[spec.name] = digest
		}
	}
	if err := r.addChart(chart, registry, digests); err != nil {
		return err
	}
	if _, err := layout.Write(filepath.Join(dir, "oci"), r.index()); err != nil {
		return fmt.Errorf("write images: %w", err)
	}
	if from.commit != "" {
		slices.SortFunc(r.subjects, func(a, b resource) int { return cmp.Compare(a.Name, b.Name) })
		text, err := provenanceOf(from, chart.Version, registry, goVersion, r.subjects)
		if err != nil {
			return err
		}
		if err := r.write(provenanceFile, text); err != nil {
			return err
		}
	}
	sums, err := checksums(dir)
	if err != nil {
		return err
	}
	if err := r.write(checksumsFile, sums); err != nil {
		return err
	}
	return r.setModes()
}

// release is a release that is being assembled.
type release struct {
	from     source
	version  string
	dir      string
	oci      []mutate.IndexAddendum // what is in the OCI layout
	subjects []resource             // what the provenance is about
}

// write writes a file.
func (r *release) write(name string, content []byte) error {
	file := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o644)
}

// setModes gives files and directories modes that do not depend on the user's umask.
func (r *release) setModes() error {
	return filepath.WalkDir(r.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if entry.IsDir() || filepath.Dir(path) == filepath.Join(r.dir, "bin") {
			mode = 0o755
		}
		return os.Chmod(path, mode)
	})
}

// addSubject adds something to what the provenance is about.
func (r *release) addSubject(name, sha256 string) {
	r.subjects = append(r.subjects, resource{Name: name, Digest: map[string]string{"sha256": sha256}})
}

// addSBOM writes an SBOM and returns it.
func (r *release) addSBOM(name, purpose, sha256 string, files []string) ([]byte, error) {
	text, err := sbom(r.from, name, purpose, sha256, r.version, files)
	if err != nil {
		return nil, err
	}
	return text, r.write("sbom/"+name+".spdx.json", text)
}

// addCommand adds the command confcom for a platform.
func (r *release) addCommand(built programs, on platform) error {
	file := built.path("confcom", on)
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	digest, err := fileDigest(file)
	if err != nil {
		return err
	}
	name := "confcom-" + on.os + "-" + on.arch
	if _, err := r.addSBOM(name, "APPLICATION", digest, []string{file}); err != nil {
		return err
	}
	name = "bin/" + name + filepath.Ext(file)
	r.addSubject(name, digest)
	return r.write(name, content)
}

// addImage adds an image and its SBOM, and returns the digest of the image.
func (r *release) addImage(built programs, spec imageSpec) (v1.Hash, error) {
	index, err := spec.build(r.from, r.version, built)
	if err != nil {
		return v1.Hash{}, err
	}
	manifest, err := index.RawManifest()
	if err != nil {
		return v1.Hash{}, err
	}
	subject, err := describe(types.OCIImageIndex, manifest)
	if err != nil {
		return v1.Hash{}, err
	}
	var files []string
	for _, on := range built.platformsOf(spec) {
		for _, program := range spec.programs() {
			files = append(files, built.path(program, on))
		}
	}
	text, err := r.addSBOM("image-"+spec.name, "CONTAINER", subject.Digest.Hex, files)
	if err != nil {
		return v1.Hash{}, err
	}
	repository := "confcom/" + spec.name
	r.addSubject(repository+":"+r.version, subject.Digest.Hex)
	r.addOCI(index, repository+":"+r.version)
	return subject.Digest, r.addArtifact(artifact{
		configType:  "application/spdx+json",
		config:      []byte("{}"),
		contentType: "application/spdx+json",
		content:     text,
		subject:     &subject,
	}, repository)
}

// addChart adds the chart, as a file and as an artifact.
func (r *release) addChart(chart chartMetadata, registry string, digests map[string]v1.Hash) error {
	archive, err := packChart(r.from, chart, registry, digests)
	if err != nil {
		return err
	}
	packed, err := chartArtifact(r.from, chart, archive)
	if err != nil {
		return err
	}
	manifest, err := packed.RawManifest()
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		chart.Name + "-" + chart.Version + ".tgz":            archive,
		"confcom/charts/" + chart.Name + ":" + chart.Version: manifest,
	} {
		digest, _, err := v1.SHA256(strings.NewReader(string(content)))
		if err != nil {
			return err
		}
		r.addSubject(name, digest.Hex)
	}
	if err := r.addArtifact(packed, "confcom/charts/"+chart.Name+":"+chart.Version); err != nil {
		return err
	}
	return r.write(chart.Name+"-"+chart.Version+".tgz", archive)
}

func (r *release) addArtifact(a artifact, ref string) error {
	image, err := a.image()
	if err != nil {
		return err
	}
	r.addOCI(image, ref)
	return nil
}

// addOCI adds an image or an index to the OCI layout.
func (r *release) addOCI(content mutate.Appendable, ref string) {
	r.oci = append(r.oci, mutate.IndexAddendum{Add: content, Descriptor: v1.Descriptor{Annotations: map[string]string{refName: ref}}})
}

// index returns the index of the OCI layout.
func (r *release) index() v1.ImageIndex {
	return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), r.oci...)
}
