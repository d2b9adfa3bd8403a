// Package nodetest makes directory trees that look like machines, for tests of
// what looks at one.
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

// Device is the content of a file that stands for a character device. To make a
// real one takes privileges; a link to one that every machine has does not.
const Device = "-> " + os.DevNull

// Tree is what is in a directory tree: the content of each file by its path,
// without a slash in front. "-> TARGET" stands for a symbolic link.
type Tree map[string]string

// Read reads a tree from an archive in the format txtar, and from its file "want"
// what a test expects of it. In front of the files the archive says which machine
// it is.
func Read(t testing.TB, archive string) (tree Tree, want string) {
	t.Helper()
	read, err := txtar.ParseFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	if len(read.Comment) == 0 {
		t.Errorf("%s does not say which machine it is", archive)
	}
	tree = make(Tree)
	for _, file := range read.Files {
		tree[file.Name] = string(file.Data)
	}
	want = tree["want"]
	delete(tree, "want")
	return tree, want
}

// Make makes the tree in a temporary directory, and returns the path of that.
func (tree Tree) Make(t testing.TB) (root string) {
	t.Helper()
	root = t.TempDir()
	for _, path := range slices.Sorted(maps.Keys(tree)) {
		Put(t, filepath.Join(root, path), tree[path])
	}
	return root
}

// Put makes one file, or the link that the content stands for, and the
// directories above it.
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
