package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The manifest of krew describes the archives of the release.
func TestKrew(t *testing.T) {
	dir := standInRelease(t)
	text, err := os.ReadFile(filepath.Join(dir, "krew", "confcom.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var plugin krewPlugin
	if err := yaml.Unmarshal(text, &plugin); err != nil {
		t.Fatal(err)
	}
	// Krew refuses longer ones.
	if n := len(plugin.Spec.ShortDescription); plugin.Metadata.Name != "confcom" || n == 0 || n > 50 || len(plugin.Spec.Platforms) != len(platforms) {
		t.Errorf("manifest:\n%s", text)
	}
	for _, p := range plugin.Spec.Platforms {
		archive, err := os.ReadFile(filepath.Join(dir, "krew", path.Base(p.URI)))
		if err != nil {
			t.Error(err)
			continue
		}
		if sum := sha256.Sum256(archive); hex.EncodeToString(sum[:]) != p.SHA256 {
			t.Errorf("%s: the checksum is not that of the manifest", p.URI)
		}
		name := "confcom-" + p.Selector.MatchLabels["os"] + "-" + p.Selector.MatchLabels["arch"] + filepath.Ext(p.Bin)
		command, err := os.ReadFile(filepath.Join(dir, "bin", name))
		if err != nil {
			t.Error(err)
			continue
		}
		if files := unpack(t, archive); files[p.Bin] != string(command) || files["LICENSE"] == "" {
			t.Errorf("%s has not the program %s and the license", p.URI, p.Bin)
		}
	}
}
