// Package nodetest creates directory trees that look like machines, for tests of
// programs that discover machines.
package nodetest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// Device is the content of a file that stands for a character device: a link to a
// device that every machine has, since creating a device needs privileges.
const Device = "-> " + os.DevNull

// Tree maps the relative path of each file in a directory tree to its content.
// "-> TARGET" stands for a symbolic link.
type Tree map[string]string

// Read reads a tree from a txtar archive, and from the archive's file "want" what a
// test expects of it. The comment of the archive describes the machine.
func Read(t testing.TB, archive string) (tree Tree, want string) {
	t.Helper()
	read, err := txtar.ParseFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	if len(read.Comment) == 0 {
		t.Errorf("%s has no comment that describes the machine", archive)
	}
	tree = make(Tree)
	for _, file := range read.Files {
		tree[file.Name] = string(file.Data)
	}
	want = tree["want"]
	delete(tree, "want")
	return tree, want
}

// Make creates the tree in a temporary directory and returns its path.
func (tree Tree) Make(t testing.TB) (root string) {
	t.Helper()
	root = t.TempDir()
	for _, path := range slices.Sorted(maps.Keys(tree)) {
		Put(t, filepath.Join(root, path), tree[path])
	}
	return root
}

// Put creates one file, or the link that the content stands for, and its parent
// directories.
func Put(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if target, ok := strings.CutPrefix(content, "-> "); ok {
		err = os.Symlink(strings.TrimSpace(target), path)
	} else {
		err = os.WriteFile(path, []byte(content), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
