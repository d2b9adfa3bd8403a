package main

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// runMainEnv makes the test binary the program itself.
const runMainEnv = "SGX_QUOTE_HELPER_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMainEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), runMainEnv+"=1")
	return c
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	live := filepath.Join(dir, "live.socket")
	listener, err := net.Listen("unix", live)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"no platform", nil, 1, "pass --platform=simulated"},
		{"unknown platform", []string{"--platform=magic"}, 2, "--platform=magic: unknown platform; the one of this version is simulated"},
		{"socket path too long", []string{"--platform=simulated", "--socket=" + filepath.Join(dir, strings.Repeat("x", 108))}, 1, "107"},
		{"socket of a live daemon", []string{"--platform=simulated", "--socket=" + live}, 1, aesm.ErrInUse.Error()},
		{"socket is a file", []string{"--platform=simulated", "--socket=" + file}, 1, file},
		{"no directory", []string{"--platform=simulated", "--socket=/nonexistent/dir/aesm.socket"}, 1, "/nonexistent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			output, err := command(t, c.args...).CombinedOutput()
			exit, ok := err.(*exec.ExitError)
			if !ok || exit.ExitCode() != c.exit || !strings.Contains(string(output), c.want) {
				t.Errorf("%v; want exit status %d and %q\n%s", err, c.exit, c.want, output)
			}
		})
	}
}

// TestServes: the program serves a quote and stops when it is asked to.
func TestServes(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	c := command(t, "--platform=simulated", "--socket="+socket, "--log-format=text")
	log, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() }) // it has ended, unless the test failed
	lines := bufio.NewScanner(log)
	for lines.Scan() && !strings.Contains(lines.Text(), "serving quotes") {
	}

	client := aesm.Client{Socket: socket}
	data, err := client.Quote(t.Context(), func(_ context.Context, target sgx.TargetInfo) (sgx.Report, error) {
		return simulation.DefaultCPU().Report(sgx.ReportBody{}, target)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := quote.Parse(data); err != nil {
		t.Error(err)
	}

	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	if err := c.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if _, err := os.Lstat(socket); err == nil {
		t.Error("the socket file is left")
	}
}
