package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/confcom/confcom/internal/deviceplugin"
)

var (
	objectText = regexp.MustCompile(`(?m)^kind: (\w+)\nmetadata:\n  name: (\S+)`)
	// A template writes a key as it is, or names it in a variable or a dict first.
	writtenKey = regexp.MustCompile(`(?m)(?:^ *|:= "|:= \(dict ")([a-z][a-z0-9.-]*/[a-z-]+)(?:: |")`)
	readKey    = regexp.MustCompile(`key: ([a-z0-9.-]+/[A-Za-z0-9._-]+)`)
)

// kubernetesPage reads the templates as text: it names whatever they may make, under
// whichever values.
func kubernetesPage() (string, error) {
	chart := filepath.Join(root, "charts", "confcom")
	templates := filepath.Join(chart, "templates")
	var files []string
	err := filepath.WalkDir(templates, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	var objects [][]string
	written, read := make(map[string][]string), make(map[string][]string)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		name, err := filepath.Rel(templates, file)
		if err != nil {
			return "", err
		}
		text := string(content)
		for _, m := range objectText.FindAllStringSubmatch(text, -1) {
			object := code(m[2])
			if strings.HasPrefix(m[2], "{{") {
				object = "that of the release"
			}
			objects = append(objects, []string{code(m[1]), object, code("templates/" + name)})
		}
		collect(written, writtenKey, text, name)
		collect(read, readKey, text, name)
	}
	resources, err := resourceTable(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("## Extended resources\n\nContainers request these in `resources.limits`.\n\n%s"+
		"## Objects\n\nThe objects that the chart can install. The values decide which of them it does install.\n\n%s"+
		"## Labels and annotations that the chart writes\n\n%s"+
		"## Conditions of nodes\n\n`sgx-node-resource` writes [`SGXEPCAvailable`](../concepts/changing-modes.md#states) and [`SGXQuotesAvailable`](../how-to/monitor.md#conditions-of-the-node).\n\n"+
		"## Annotations of pods that confcom reads\n\n[Run workloads of other plugins](../how-to/migrate-workloads.md#names) has them, such as `confcom.github.io/quote-provider`.\n\n"+
		"## Node labels that the chart reads\n\nThe pods are placed by these labels. The values [`nodes`](chart-values.md#nodes) and [`affinity`](chart-values.md#affinity) decide how.\n\n%s",
		resources, table([]string{"kind", "name", "file"}, objects), keyTable(written), keyTable(read)), nil
}

// resourceTable lists the values that name a resource, and the one whose name is fixed.
func resourceTable(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		return "", fmt.Errorf("values.yaml: %w", err)
	}
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		group, _ := values[name].(map[string]any)
		if resource, ok := group["resource"].(string); ok {
			rows = append(rows, []string{code(resource), fmt.Sprintf("[`%s.resource`](chart-values.md#%[1]sresource)", name)})
		}
	}
	rows = append(rows, []string{code(string(deviceplugin.QuoteHelper)), "none: it is for the quote helper only"})
	return table([]string{"resource", "value that renames it"}, rows), nil
}

// collect adds the keys that expression finds in text, with the name of the file.
func collect(keys map[string][]string, expression *regexp.Regexp, text, file string) {
	for _, m := range expression.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(keys[m[1]], file) {
			keys[m[1]] = append(keys[m[1]], file)
		}
	}
}

func keyTable(keys map[string][]string) string {
	var rows [][]string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		rows = append(rows, []string{code(key), codes(keys[key])})
	}
	return table([]string{"key", "file"}, rows)
}
