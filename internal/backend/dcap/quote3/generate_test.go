package quote3

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// TestGenerated checks that errors_gen.go is what go generate makes of errors.csv.
func TestGenerated(t *testing.T) {
	generate := exec.CommandContext(t.Context(), "go", "run", "generate.go")
	generate.Stderr = os.Stderr
	want, err := generate.Output()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("errors_gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("errors_gen.go is stale: run go generate in this directory")
	}
}
