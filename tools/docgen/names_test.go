package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile("`((?:Test|Benchmark|Fuzz)[A-Z][A-Za-z0-9]*)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)[A-Z]\w*)\(`)

	// A sentence names log lines as "the line `A`" or "the lines `A` and `B`", a table of them
	// has the heads "message" and "what to do".
	logLines   = regexp.MustCompile("[Tt]he lines?((?:(?:,| or| and)?\\s`[^`]+`)+)")
	logTable   = regexp.MustCompile(`(?m)^\| message \| what to do \|\n((?:\|.*\n)+)`)
	logRow     = regexp.MustCompile("(?m)^\\| (`[^`]+`)")
	inCode     = regexp.MustCompile("`([^`]+)`")
	logMessage = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
)

// A test or benchmark that a page names exists.
func TestNamedTestsExist(t *testing.T) {
	exist := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
			exist[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range readPages(t) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testName.FindAllStringSubmatch(string(text), -1) {
			if !exist[m[1]] {
				t.Errorf("%s names %s, which does not exist", name, m[1])
			}
		}
	}
}

// A log line that a page names is one that a daemon logs, or the beginning of one.
func TestNamedLogLinesExist(t *testing.T) {
	reference, err := os.ReadFile(filepath.Join(root, "docs", "reference", "logs.md"))
	if err != nil {
		t.Fatal(err)
	}
	messages := logMessage.FindAllStringSubmatch(string(reference), -1)
	logged := func(name string) bool {
		return slices.ContainsFunc(messages, func(m []string) bool { return strings.HasPrefix(m[1], name) })
	}
	count := 0
	for name := range readPages(t) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		var named []string
		for _, m := range logLines.FindAllStringSubmatch(string(text), -1) {
			named = append(named, m[1])
		}
		for _, m := range logTable.FindAllStringSubmatch(string(text), -1) {
			for _, row := range logRow.FindAllStringSubmatch(m[1], -1) {
				named = append(named, row[1])
			}
		}
		for _, m := range inCode.FindAllStringSubmatch(strings.Join(named, " "), -1) {
			count++
			if line := strings.Join(strings.Fields(m[1]), " "); !logged(line) {
				t.Errorf("%s names the log line %q, which no daemon logs", name, line)
			}
		}
	}
	if count < 15 {
		t.Errorf("found only %d names of log lines", count)
	}
}
