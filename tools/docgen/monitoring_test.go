package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// foreign are metrics of others that alerts and dashboard use.
var foreign = []string{"up", "kube_pod_container_resource_limits", "kube_pod_status_phase"}

// rule is an alert of the chart.
type rule struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func readRules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "charts", "confcom", "rules", "confcom.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) != 1 || len(file.Groups[0].Rules) == 0 {
		t.Fatal("no rules")
	}
	return file.Groups[0].Rules
}

// Each alert has a page in docs/runbooks with its expression, and each page has an alert.
func TestRunbooks(t *testing.T) {
	const base = "https://github.com/confcom/confcom/blob/main/docs/runbooks/"
	pages := []string{"README.md"}
	for _, r := range readRules(t) {
		page := r.Alert + ".md"
		pages = append(pages, page)
		if got := r.Annotations["runbook_url"]; got != base+page {
			t.Errorf("%s: runbook_url %q, want %q", r.Alert, got, base+page)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s has no summary or no description", r.Alert)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
		}
		text, err := os.ReadFile(filepath.Join(root, "docs", "runbooks", page))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, want := range []string{"# " + r.Alert + "\n", "\nSeverity: " + r.Labels["severity"] + ".", "\n## What was seen\n", "\n```promql\n" + r.Expr + "\n```\n", "\n## What it means\n", "\n## What to do\n"} {
			if !strings.Contains("\n"+string(text), want) {
				t.Errorf("docs/runbooks/%s lacks %q", page, want)
			}
		}
	}
	entries, err := os.ReadDir(filepath.Join(root, "docs", "runbooks"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !slices.Contains(pages, entry.Name()) {
			t.Errorf("docs/runbooks/%s is about no alert", entry.Name())
		}
	}
}

// Alerts and dashboard use metrics that exist.
func TestMonitoringUsesMetricsThatExist(t *testing.T) {
	var r recorder
	for _, source := range metricSources() {
		source.register(&r)
	}
	known := slices.Clone(foreign)
	for _, row := range r.rows {
		name := strings.Trim(row[0], "`")
		known = append(known, name)
		if row[1] == "histogram" {
			known = append(known, name+"_bucket", name+"_sum", name+"_count")
		}
	}
	expressions := make(map[string]string) // by where they are
	for _, r := range readRules(t) {
		expressions["alert "+r.Alert] = r.Expr
	}
	dashboard, err := os.ReadFile(filepath.Join(root, "charts", "confcom", "dashboards", "confcom.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(dashboard, &board); err != nil {
		t.Fatal(err)
	}
	if len(board.Panels) == 0 {
		t.Fatal("no panels")
	}
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			expressions["panel "+panel.Title] += target.Expr + "\n"
		}
	}
	for where, expression := range expressions {
		names := metricsIn(expression)
		if len(names) == 0 {
			t.Errorf("%s uses no metric: %s", where, expression)
		}
		for _, name := range names {
			if !slices.Contains(known, name) {
				t.Errorf("%s: there is no metric %s", where, name)
			}
		}
	}
}

var (
	quoted   = regexp.MustCompile(`"[^"]*"`)
	grouping = regexp.MustCompile(`\b(by|on|group_left|without|ignoring)\s*\([^)]*\)`)
	// selector matches what is followed by matchers, or looks like one of our metrics.
	selector = regexp.MustCompile(`\b([a-z_][a-z0-9_]*)\{|\b((?:sgx|confcom|kube)_[a-z0-9_]+)\b`)
)

// metricsIn returns the names of the metrics in an expression.
func metricsIn(expression string) (names []string) {
	expression = grouping.ReplaceAllString(quoted.ReplaceAllString(expression, `""`), "")
	for _, m := range selector.FindAllStringSubmatch(expression, -1) {
		names = append(names, m[1]+m[2])
	}
	return names
}
