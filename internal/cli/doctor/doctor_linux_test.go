package doctor_test

import (
	"strings"
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
