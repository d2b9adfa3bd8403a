package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

const (
	// pluginName is that of the command as a plugin of kubectl.
	pluginName = "kubectl-confcom"
	// downloads is where the files of releases are, followed by a version.
	downloads = "https://github.com/confcom/confcom/releases/download/v"
)

// krewPlugin is a manifest of krew, which installs plugins of kubectl.
type krewPlugin struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec krewSpec `yaml:"spec"`
}

type krewSpec struct {
	Version          string         `yaml:"version"`
	Homepage         string         `yaml:"homepage"`
	ShortDescription string         `yaml:"shortDescription"`
	Description      string         `yaml:"description"`
	Platforms        []krewPlatform `yaml:"platforms"`
}

type krewPlatform struct {
	Selector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	} `yaml:"selector"`
	URI    string `yaml:"uri"`
	SHA256 string `yaml:"sha256"`
	Bin    string `yaml:"bin"`
}

// addPlugin adds the command as a plugin of kubectl: an archive for each platform that it was
// built for, and the manifest by which krew installs them.
func (r *release) addPlugin(built programs) error {
	plugin := krewPlugin{APIVersion: "krew.googlecontainertools.github.com/v1alpha2", Kind: "Plugin"}
	plugin.Metadata.Name = "confcom"
	plugin.Spec = krewSpec{
		Version:          "v" + r.version,
		Homepage:         "https://github.com/confcom/confcom",
		ShortDescription: "Watch and diagnose nodes with Intel SGX",
		Description:      "Shows the EPC and the quotes of a cluster's nodes and pods, diagnoses\nnodes, and gets and verifies quotes. It is the command confcom.\n",
	}
	license, err := os.ReadFile(filepath.Join(r.from.dir, "LICENSE"))
	if err != nil {
		return err
	}
	for _, on := range built.platforms {
		file := built.path("confcom", on)
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		program := pluginName + filepath.Ext(file)
		archive, err := r.packPlugin(program, content, license)
		if err != nil {
			return fmt.Errorf("pack %s for %s: %w", pluginName, on, err)
		}
		name := pluginName + "-" + on.os + "-" + on.arch + ".tar.gz"
		sum := sha256.Sum256(archive)
		digest := hex.EncodeToString(sum[:])
		r.addSubject("krew/"+name, digest)
		if err := r.write("krew/"+name, archive); err != nil {
			return err
		}
		p := krewPlatform{URI: downloads + r.version + "/" + name, SHA256: digest, Bin: program}
		p.Selector.MatchLabels = map[string]string{"os": on.os, "arch": on.arch}
		plugin.Spec.Platforms = append(plugin.Spec.Platforms, p)
	}
	text, err := yaml.Marshal(plugin)
	if err != nil {
		return fmt.Errorf("encode the manifest of krew: %w", err)
	}
	return r.write("krew/confcom.yaml", text)
}

// packPlugin returns an archive with the program and the license.
func (r *release) packPlugin(program string, content, license []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	if err := writeFile(w, program, 0o755, r.from.time, content); err != nil {
		return nil, err
	}
	if err := writeFile(w, "LICENSE", 0o644, r.from.time, license); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
