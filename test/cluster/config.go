package main

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

//go:embed templates
var templates embed.FS

// render executes one of the embedded templates.
func render(name string, data any) ([]byte, error) {
	t, err := template.ParseFS(templates, "templates/"+name)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// writeConfig writes the configuration files of the components.
func writeConfig(l layout) error {
	for name, path := range map[string]string{
		"containerd.toml": l.config("containerd.toml"),
		"kubelet.yaml":    l.config("kubelet.yaml"),
		"cni.conflist":    filepath.Join(l.CNIConfig(), "confcom.conflist"),
	} {
		content, err := render(name, l)
		if err != nil {
			return err
		}
		if err := writePrivate(path, content); err != nil {
			return err
		}
	}
	return nil
}

// writeKubeconfig writes a kubeconfig for one of the identities. It contains the
// certificate and the key, so the file can be copied elsewhere.
func writeKubeconfig(l layout, who string) error {
	var encoded [3]string
	for i, path := range []string{l.Cert("ca"), l.Cert(who), l.Key(who)} {
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("write kubeconfig of %s: %w", who, err)
		}
		encoded[i] = base64.StdEncoding.EncodeToString(content)
	}
	content, err := render("kubeconfig.yaml", struct{ User, Server, CA, Cert, Key string }{
		who, apiServer, encoded[0], encoded[1], encoded[2],
	})
	if err != nil {
		return err
	}
	return writePrivate(l.kubeconfig(who), content)
}

// writePrivate writes a file that only its owner can read, and its parent directories.
func writePrivate(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.WriteFile(path, content, 0o600)
}
