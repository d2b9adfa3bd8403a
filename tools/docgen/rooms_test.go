package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var room = regexp.MustCompile(`^( *)([a-z0-9/.-]+)/( +\S.*)?$`)

// The tree in docs/architecture.md names directories that exist, and no package is
// missing in it. A package below one that is listed may be.
func TestRooms(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, tree, _ := strings.Cut(string(text), "```text\n")
	tree, _, _ = strings.Cut(tree, "```")
	rooms := make(map[string]bool) // whether the line describes it: "internal/" alone does not
	var parents []string           // by indentation
	for line := range strings.Lines(tree) {
		m := room.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			t.Errorf("this line names no directory: %s", line)
			continue
		}
		parents = append(parents[:min(len(m[1])/2, len(parents))], m[2])
		rooms[strings.Join(parents, "/")] = m[3] != ""
	}
	for name := range rooms {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || !info.IsDir() {
			t.Errorf("docs/architecture.md lists %s, which is no directory", name)
		}
	}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && path != root || entry.Name() == "testdata" || entry.Name() == "bin" || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for at := filepath.ToSlash(dir); ; at = filepath.ToSlash(filepath.Dir(at)) {
			if rooms[at] {
				return nil
			}
			if at == "." {
				t.Errorf("docs/architecture.md does not list the package in %s", dir)
				return filepath.SkipDir
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
