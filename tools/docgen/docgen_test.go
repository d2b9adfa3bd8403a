package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docgen runs in the directory of its module, tests in that of their package.
func TestMain(m *testing.M) {
	if err := os.Chdir(".."); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// The pages in the tree are those that docgen writes.
func TestReferenceIsFresh(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "docs", "reference")
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("docs/reference/%s is stale: run make docs (%v)", name, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if _, ok := files[entry.Name()]; !ok {
			t.Errorf("docs/reference/%s is no page of the reference: run make docs", entry.Name())
		}
	}
}

// What --help prints is taken apart as it was put together.
func TestParseHelp(t *testing.T) {
	h := parseHelp(`Does one thing,
in two lines.

Usage:
  confcom thing [flags]
  confcom thing [command]

Available Commands:
  part        A part of it

Flags:
  -h, --help             help for thing
      --size size        how much, such as 16Mi, over
                         two lines (default 64Mi)
      --out file         write to this file (default "a b")

Use "confcom thing [command] --help" for more information about a command.
`)
	want := []flag{
		{"-h, --help", "", "help for thing", ""},
		{"--size", "size", "how much, such as 16Mi, over two lines", "64Mi"},
		{"--out", "file", "write to this file", "a b"},
	}
	if h.about != "Does one thing,\nin two lines." || len(h.commands) != 1 || h.commands[0] != "part" || len(h.flags) != len(want) {
		t.Fatalf("got %+v", h)
	}
	for i := range want {
		if h.flags[i] != want[i] {
			t.Errorf("flag %d is %+v, want %+v", i, h.flags[i], want[i])
		}
	}
}

// The page of metrics has every package that registers some.
func TestMetricSourcesAreComplete(t *testing.T) {
	want := 0
	err := filepath.WalkDir(filepath.Join(root, "internal"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		want += strings.Count(string(text), "\nfunc NewMetrics(")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(metricSources()); got != want {
		t.Errorf("metricSources has %d functions, but packages declare %d NewMetrics", got, want)
	}
}
