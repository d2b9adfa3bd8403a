// Package oracles runs third-party verifiers on quotes, so that tests compare our verdicts with
// independent ones.
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

// modulesEnv is the environment variable with the directory that install.sh returns.
const modulesEnv = "CONFCOM_ORACLES"

//go:embed dcap-qvl.cjs
var dcapQVL []byte

// Verdict is the result of a verifier: the TCB status of a quote that it accepts, or the error with
// which it refuses one.
type Verdict struct {
	Status string `json:"status"`
	Error  string `json:"error"`
}

// Case is the input of a verifier.
type Case struct {
	Quote      []byte
	Collateral json.RawMessage // the JSON form of attest.Collateral
	At         time.Time       // of verification
}

// DCAPQVL verifies a quote with @phala/dcap-qvl (JavaScript). An empty root means Intel's. If the
// verifier is not installed, it skips the test.
func DCAPQVL(t *testing.T, quote, collateral, root []byte, at time.Time) Verdict {
	t.Helper()
	return DCAPQVLs(t, root, Case{quote, collateral, at})[0]
}

// DCAPQVLs is DCAPQVL for many quotes.
func DCAPQVLs(t *testing.T, root []byte, cases ...Case) []Verdict {
	t.Helper()
	modules := os.Getenv(modulesEnv)
	if modules == "" {
		t.Skipf("NOT RUN: $%s is not set: 'make oracles' installs the third-party verifiers", modulesEnv)
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
