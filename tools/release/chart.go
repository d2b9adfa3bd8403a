package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.yaml.in/yaml/v3"
)

// chartDir is where the chart is in the sources.
const chartDir = "charts/confcom"

// packChart returns the archive of the chart, as helm reads it, with the images' digests
// and the registry in its values.
func packChart(from source, chart chartMetadata, registry string, digests map[string]v1.Hash) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	files := os.DirFS(filepath.Join(from.dir, chartDir))
	// WalkDir is in lexical order, whatever the order in the directory.
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || name == ".helmignore" {
			return err
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%s is not a regular file", name)
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		if name == "values.yaml" {
			if content, err = setImages(content, registry, digests); err != nil {
				return fmt.Errorf("values.yaml: %w", err)
			}
		}
		return writeFile(w, path.Join(chart.Name, name), 0o644, from.time, content)
	})
	if err != nil {
		return nil, fmt.Errorf("pack chart: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// setImages writes digests and registry into the values, and leaves the comments.
func setImages(values []byte, registry string, digests map[string]v1.Hash) ([]byte, error) {
	text := string(values)
	set := func(pattern, replacement string) error {
		found := regexp.MustCompile(pattern).FindAllStringSubmatchIndex(text, -1)
		if len(found) != 1 {
			return fmt.Errorf("%d places match %s, not one", len(found), pattern)
		}
		start, end := found[0][2], found[0][3]
		text = text[:start] + strconv.Quote(replacement) + text[end:]
		return nil
	}
	for name, digest := range digests {
		if err := set(`\brepository: localhost/confcom/`+name+`, tag: "", digest: ("")`, digest.String()); err != nil {
			return nil, err
		}
	}
	if registry != "" {
		if err := set(`\n  imageRegistry: ("")\n`, registry); err != nil {
			return nil, err
		}
	}
	return []byte(text), nil
}

// chartArtifact returns the chart as helm push stores it in a registry.
func chartArtifact(from source, chart chartMetadata, archive []byte) (artifact, error) {
	text, err := os.ReadFile(filepath.Join(from.dir, chartDir, "Chart.yaml"))
	if err != nil {
		return artifact{}, err
	}
	var metadata map[string]any
	if err := yaml.Unmarshal(text, &metadata); err != nil {
		return artifact{}, fmt.Errorf("read Chart.yaml: %w", err)
	}
	config, err := json.Marshal(metadata)
	if err != nil {
		return artifact{}, fmt.Errorf("read Chart.yaml: %w", err)
	}
	spec := imageSpec{name: chart.Name, description: strings.TrimSpace(chart.Description)}
	return artifact{
		configType:  "application/vnd.cncf.helm.config.v1+json",
		config:      config,
		contentType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
		content:     archive,
		annotations: spec.annotations(from, chart.Version),
	}, nil
}
