package doctor_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/confcom/confcom/internal/cli/clitest"
	"github.com/confcom/confcom/internal/cli/exit"
)

func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"a problem", []string{"--socket=" + dir + "/none", "--check=socket"}, exit.CodeFailed, "PROBLEM           socket"},
		{"as JSON", []string{"--socket=" + dir + "/none", "--check=socket", "-o=json"}, exit.CodeFailed, `"verdict": "problem"`},
		{"no problem", []string{"--sysroot=" + dir, "--check=noexec"}, exit.CodeOK, "no problem"},
		{"an unknown check", []string{"--check=heart"}, exit.CodeBadInput, "--check=heart: not one of limit, processor, "},
		{"no directory", []string{"--sysroot="}, exit.CodeBadInput, "--sysroot: missing directory"},
		{"no time", []string{"--timeout=0s"}, exit.CodeBadInput, "--timeout=0s: must be greater than 0"},
		{"no time for the provider", []string{"--certificates-timeout=-1s"}, exit.CodeBadInput, "--certificates-timeout=-1s: must be greater than 0"},
		{"no platform", []string{"--platform-id=" + dir + "/none"}, exit.CodeBadInput, "--platform-id: open " + dir + "/none: no such file"},
		{"another file", []string{"--platform-id=doctor_linux.go"}, exit.CodeBadInput, "doctor_linux.go is no file of PCKIDRetrievalTool: encrypted PPID: "},
		{"an argument", []string{"please"}, exit.CodeBadInput, `unexpected argument "please"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := clitest.Run(t, nil, append([]string{"doctor"}, c.args...)...)
			if code != c.exit || !strings.Contains(out+errs, c.want) {
				t.Errorf("exit %d, want %d and %q:\n%s%s", code, c.exit, c.want, out, errs)
			}
		})
	}
}

// An interruption is no diagnosis, and leaves nothing behind.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	asked := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	defer server.Close()
	configuration := dir + "/qcnl.conf"
	if err := os.WriteFile(configuration, fmt.Appendf(nil, `{"pccs_url": "%s/sgx/certification/v4/"}`, server.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		<-asked
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
	}()
	code, out, errs := clitest.Run(t, nil, "doctor", "--check=network", "--daemon-address=", "--worker-program=/nonexistent", "--qcnl-config="+configuration)
	if code != exit.CodeFailed || out != "" || !strings.Contains(errs, "interrupted") {
		t.Errorf("exit %d:\n%s%s", code, out, errs)
	}
}
