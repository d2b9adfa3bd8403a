// Package oracles has other people's verifiers judge quotes, so that ours is
// not the only opinion on what we make. It serves tests alone.
package oracles

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// modulesEnv names the variable that holds where install.sh put the verifiers.
const modulesEnv = "CONFCOM_ORACLES"

//go:embed dcap-qvl.cjs
var dcapQVL []byte

// Verdict is what a verifier said: a TCB status when it accepts a quote, or why
// it refuses.
type Verdict struct {
	Status string `json:"status"`
	Error  string `json:"error"`
}

// Case is what a verifier is to judge.
type Case struct {
	Quote      []byte          // its bytes
	Collateral json.RawMessage // as JSON
	At         time.Time
}

// DCAPQVL has @phala/dcap-qvl (JavaScript) judge a quote at a time. An empty
// root means Intel's. The test is skipped where the verifier is not installed.
func DCAPQVL(t *testing.T, quote, collateral, root []byte, at time.Time) Verdict {
	t.Helper()
	return DCAPQVLs(t, root, Case{quote, collateral, at})[0]
}

// DCAPQVLs is DCAPQVL for many quotes.
func DCAPQVLs(t *testing.T, root []byte, cases ...Case) []Verdict {
	t.Helper()
	modules := os.Getenv(modulesEnv)
	if modules == "" {
		t.Skipf("NOT RUN: $%s does not say where other people's verifiers are; 'make oracles' installs them", modulesEnv)
	}
	var lines bytes.Buffer
	for _, c := range cases {
		err := json.NewEncoder(&lines).Encode(map[string]any{"quote": c.Quote, "collateral": c.Collateral, "at": c.At.Unix()})
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	args := []string{write(t, dir, "dcap-qvl.cjs", dcapQVL), modules, write(t, dir, "cases", lines.Bytes())}
	if len(root) > 0 {
		args = append(args, write(t, dir, "root", root))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(len(cases))*100*time.Millisecond)
	defer cancel()
	output, err := exec.CommandContext(ctx, "node", args...).Output()
	if err != nil {
		t.Fatalf("dcap-qvl: %v%s", err, stderr(err))
	}
	var verdicts []Verdict
	for line := range bytes.Lines(output) {
		var verdict Verdict
		if err := json.Unmarshal(line, &verdict); err != nil {
			t.Fatalf("dcap-qvl: %v: %s", err, line)
		}
		verdicts = append(verdicts, verdict)
	}
	if len(verdicts) != len(cases) {
		t.Fatalf("dcap-qvl: %d verdicts on %d quotes", len(verdicts), len(cases))
	}
	return verdicts
}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func stderr(err error) string {
	if exit, ok := err.(*exec.ExitError); ok {
		return fmt.Sprintf(": %s", exit.Stderr)
	}
	return ""
}
