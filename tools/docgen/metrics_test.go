package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var metricName = regexp.MustCompile(`"((?:sgx|confcom)_[a-z0-9_]+)"`)

// Every metric that is named in the code is in the reference: metricSources has
// all packages.
func TestAllMetricsAreListed(t *testing.T) {
	page, err := metricsPage()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, dir := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(text), "client_golang/prometheus") {
				return err
			}
			for _, name := range metricName.FindAllStringSubmatch(string(text), -1) {
				found++
				if !strings.Contains(page, "`"+name[1]+"`") {
					t.Errorf("%s has the metric %s, which no function in metricSources registers", path, name[1])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("no metric found in the code")
	}
}
