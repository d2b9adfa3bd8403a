package quotehelper

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// foreignEnv has the test binary listen on the socket that it names, like another AESM
// daemon, until its standard input ends.
const foreignEnv = "QUOTEHELPER_TEST_SOCKET"

func serveForeign(socket string) {
	_ = os.Remove(socket) // as Intel's aesmd does
	if _, err := net.Listen("unix", socket); err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString("listening")
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

// startForeign starts another daemon at the socket, whose program has the given name.
func startForeign(t *testing.T, name, socket string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(os.Args[0], program); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program)
	command.Env = append(os.Environ(), foreignEnv+"="+socket)
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close()
		_ = command.Wait()
	})
	if _, err := output.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
}

// A daemon that is not a quote helper contends for the socket. The log names it, whichever
// of the two starts first.
func TestContended(t *testing.T) {
	t.Parallel()
	const metric = "sgx_quote_helper_socket_contended"
	contended := func(r *running) string {
		var text strings.Builder
		families, err := r.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == metric {
				text.WriteString(family.GetMetric()[0].String())
			}
		}
		return text.String()
	}
	for _, tt := range []struct {
		name    string
		program string // "" for a helper
		first   bool   // whether the other daemon starts first
		level   string
	}{
		{"aesmd starts later", "aesm_service", false, "WARN"},
		{"aesmd is there", "aesm_service", true, "WARN"},
		{"a helper starts later", "", false, "INFO"},
		{"a helper is there", "", true, "INFO"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			socket := socketPath(t)
			other := func() {
				if tt.program != "" {
					startForeign(t, tt.program, socket)
					return
				}
				start(t, &Helper{Backend: newBackend(t, "other"), Socket: socket, TakeOver: true, StandBy: true}).expect(t, "serving quotes")
			}
			if tt.first {
				other()
			}
			r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket, TakeOver: true, StandBy: true})
			message := "another daemon serves the socket"
			if !tt.first {
				r.expect(t, "serving quotes")
				message = "another daemon has taken over the socket"
				other()
			}
			line := r.expect(t, message)
			if !strings.Contains(line, "level="+tt.level) || strings.Contains(line, "daemon.program=aesm_service") != (tt.program != "") || !strings.Contains(line, "daemon.pid=") {
				t.Errorf("log: %s", line)
			}
			if want := tt.program != ""; strings.Contains(contended(r), "value:1") != want {
				t.Errorf("%s: %s, want %t", metric, contended(r), want)
			}
		})
	}
	if problems, err := testutil.GatherAndLint(start(t, &Helper{Backend: newBackend(t, "node"), Socket: socketPath(t)}).metrics, metric); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}
