//go:build cgo

package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/confcom/confcom/internal/backend/dcap/dcaptest"
)

// runMainEnv makes the test binary the program itself.
const runMainEnv = "SGX_QUOTE_WORKER_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMainEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

// What is missing is said, and in which package it is.
func TestMissing(t *testing.T) {
	library, err := dcaptest.Build(t.TempDir(), "node-1")
	if errors.Is(err, dcaptest.ErrNoCompiler) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"everything", nil, "libsgx-dcap-ql on Debian"},
		{"the provider", []string{"--library=" + library.Path(dcaptest.QuotingLibrary)}, "libsgx-dcap-default-qpl on Debian and Ubuntu, from Intel's repository, or az-dcap-client on Azure"},
		{"functions", []string{"--library=" + library.Path(dcaptest.Provider), "--provider=" + library.Path(dcaptest.Provider)}, "libconfcom_provider.so"},
		{"the library of ours", []string{"--library=" + library.Path(dcaptest.QuotingLibrary), "--provider=" + library.Path(dcaptest.Provider)}, "it is built together with this program"},
	} {
		t.Run(c.name, func(t *testing.T) {
			command := exec.CommandContext(t.Context(), os.Args[0], c.args...)
			command.Env = append(os.Environ(), runMainEnv+"=1", "GORACE=atexit_sleep_ms=0")
			output, err := command.CombinedOutput()
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.ExitCode() != 1 || !strings.Contains(string(output), c.want) {
				t.Errorf("%v, want exit status 1 and %q:\n%s", err, c.want, output)
			}
		})
	}
}
