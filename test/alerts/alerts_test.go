// Package alerts tests the alerts and the dashboard of the chart with Prometheus's own tool.
package alerts

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

const rules = "../../charts/confcom/rules/confcom.yaml"

func TestRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("NOT RUN: no promtool (Debian's package prometheus has it)")
	}
	for _, args := range [][]string{{"check", "rules", rules}, append([]string{"test", "rules"}, files(t)...)} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// TestEachAlertHasATest needs no promtool.
func TestEachAlertHasATest(t *testing.T) {
	text, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	var tests []byte
	for _, file := range files(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests = append(tests, text...)
	}
	alerts := regexp.MustCompile(`(?m)^  - alert: (\w+)$`).FindAllSubmatch(text, -1)
	if len(alerts) == 0 {
		t.Fatal("no alerts in " + rules)
	}
	for _, alert := range alerts {
		if !regexp.MustCompile(`ALERTS\{alertname="` + string(alert[1]) + `", alertstate="firing"`).Match(tests) {
			t.Errorf("no test in which %s fires", alert[1])
		}
	}
}

// files returns the names of the files with promtool's tests.
func files(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*_test.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests: %v", err)
	}
	return files
}
