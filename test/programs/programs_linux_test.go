// Package programs_test runs the programs of examples/programs, which are a module of their own
// that imports the public packages, as users write them.
package programs_test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/internal/cli/clitest"
	"github.com/confcom/confcom/sgx/simulation"
)

// runGo runs the go command in the module of the programs.
func runGo(t *testing.T, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir = "../../examples/programs"
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly", "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

// build builds the programs and returns their directory.
func build(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	runGo(t, "build", "-o", dir+"/", "./...")
	return dir
}

// The tests of the programs pass.
func TestPrograms(t *testing.T) { runGo(t, "test", "-count=1", "./...") }

func TestRATLS(t *testing.T) {
	programs := build(t)
	server := exec.CommandContext(t.Context(), filepath.Join(programs, "ratls-server"), "--listen=127.0.0.1:0", "--socket="+clitest.Serve(t))
	server.Stderr = os.Stderr
	output, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	lines.Scan()
	address, found := strings.CutPrefix(lines.Text(), "listening on ")
	if !found {
		t.Fatalf("the server printed %q", lines.Text())
	}

	collateral, err := attesttest.NewCollateral(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	service := httptest.NewServer(attesttest.Handler(collateral))
	defer service.Close()
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, simulation.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	client := func(flags ...string) (string, error) {
		flags = append(flags, "--url=https://"+address, "--collateral="+service.URL)
		output, err := exec.CommandContext(t.Context(), filepath.Join(programs, "ratls-client"), flags...).CombinedOutput()
		return string(output), err
	}
	signer := fmt.Sprintf("--mrsigner=%x", sha256.Sum256([]byte("SIMULATED: signer of ratls-server")))
	if text, err := client("--root="+root, signer); err != nil || !strings.Contains(text, "its platform is UpToDate\nhello from an enclave\n") {
		t.Errorf("%v: %s", err, text)
	}
	if text, err := client("--root="+root, "--mrsigner="+strings.Repeat("00", 32)); err == nil || !strings.Contains(text, "MRSIGNER") {
		t.Errorf("another signer: %v: %s", err, text)
	}
	if text, err := client(signer); err == nil || !strings.Contains(text, "trusted root") {
		t.Errorf("without the simulated root: %v: %s", err, text)
	}

	if err := server.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("the server, after an interrupt: %v", err)
	}
}
