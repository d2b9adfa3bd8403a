package main

import (
	"strings"
	"testing"
)

func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"a problem", []string{"doctor", "--socket=" + dir + "/none", "--check=socket"}, exitFailed, "PROBLEM           socket"},
		{"as JSON", []string{"doctor", "--socket=" + dir + "/none", "--check=socket", "-o=json"}, exitFailed, `"verdict": "problem"`},
		{"none", []string{"doctor", "--sysroot=" + dir, "--check=noexec"}, exitOK, "no problem"},
		{"an unknown check", []string{"doctor", "--check=heart"}, exitBadInput, "there is no such check; there are processor, "},
		{"an argument", []string{"doctor", "please"}, exitBadInput, "please"},
	} {
		t.Run(c.name, func(t *testing.T) {
			command := newCommand()
			var out strings.Builder
			command.SetOut(&out)
			command.SetErr(&out)
			if exit := run(t.Context(), command, c.args); exit != c.exit || !strings.Contains(out.String(), c.want) {
				t.Errorf("exit %d, want %d and %q:\n%s", exit, c.exit, c.want, &out)
			}
		})
	}
}
