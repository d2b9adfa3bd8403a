//go:build cgo

package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/dcap/dcaptest"
)

// runMainEnv makes the test binary run the program.
const runMainEnv = "SGX_QUOTE_WORKER_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMainEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

// The program reports what is missing, and which package has it.
func TestMissing(t *testing.T) {
	library, err := dcaptest.Build(t.TempDir(), "node-1")
	if errors.Is(err, dcaptest.ErrNoCompiler) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	quoting, provider := library.Path(dcaptest.QuotingLibrary), library.Path(dcaptest.Provider)
	for _, c := range []struct {
		name   string
		config config.Config
		want   string
	}{
		{"everything", config.Default(), "libsgx-dcap-ql on Debian"},
		{"the provider", config.Config{Library: quoting, Provider: "libdcap_quoteprov.so.1"}, "libsgx-dcap-default-qpl on Debian and Ubuntu, from Intel's repository, or az-dcap-client on Azure"},
		{"functions", config.Config{Library: provider, Provider: provider}, "libconfcom_provider.so"},
		{"the shim", config.Config{Library: quoting, Provider: provider}, "it is built with this program"},
	} {
		t.Run(c.name, func(t *testing.T) {
			command := exec.CommandContext(t.Context(), os.Args[0], "--config="+c.config.Encode())
			command.Env = append(os.Environ(), runMainEnv+"=1", "GORACE=atexit_sleep_ms=0")
			output, err := command.CombinedOutput()
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.ExitCode() != 1 || !strings.Contains(string(output), c.want) {
				t.Errorf("%v, want exit status 1 and %q:\n%s", err, c.want, output)
			}
		})
	}
}

// A configuration that the program does not understand ends it.
func TestBadConfig(t *testing.T) {
	command := exec.CommandContext(t.Context(), os.Args[0], `--config={"workerz":1}`)
	command.Env = append(os.Environ(), runMainEnv+"=1", "GORACE=atexit_sleep_ms=0")
	output, err := command.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "--config: decode configuration") {
		t.Errorf("%v\n%s", err, output)
	}
}
