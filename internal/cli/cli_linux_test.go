package cli_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli"
	"github.com/confcom/confcom/internal/cli/clitest"
)

// A wrong command line names the help that belongs to it.
func TestHints(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"nonsense"}, "confcom: unknown command \"nonsense\" for \"confcom\"\nTry 'confcom --help'.\n"},
		{[]string{"nodes"}, "confcom: unknown command \"nodes\" for \"confcom\"\n\nDid you mean this?\n\tnode\n\nTry 'confcom --help'.\n"},
		{[]string{"--nonsense"}, "confcom: unknown flag: --nonsense\nTry 'confcom --help'.\n"},
		{[]string{"quote"}, "confcom quote: missing subcommand: one of get, inspect, report, verify\nTry 'confcom quote --help'.\n"},
		{[]string{"quote", "verfy", "x"}, "confcom quote: unknown command \"verfy\" for \"confcom quote\"\n\nDid you mean this?\n\tverify\n\nTry 'confcom quote --help'.\n"},
		{[]string{"simulated", "nonsense"}, "confcom simulated: unknown command \"nonsense\" for \"confcom simulated\"\nTry 'confcom simulated --help'.\n"},
		{[]string{"quote", "verify"}, "confcom quote verify: missing argument FILE\nTry 'confcom quote verify --help'.\n"},
		{[]string{"quote", "verify", "x", "--mrsinger=0"}, "confcom quote verify: unknown flag: --mrsinger\nTry 'confcom quote verify --help'.\n"},
		{[]string{"quote", "verify", "x", "--min-svn=x"}, "confcom quote verify: --min-svn=x: not a number from 0 to 65535\nTry 'confcom quote verify --help'.\n"},
		{[]string{"quote", "get"}, "confcom quote get: --out: missing: name the file to write to, or \"-\" for standard output\nTry 'confcom quote get --help'.\n"},
		{[]string{"simulated", "root", "--out="}, "confcom simulated root: --out: missing: name the file to write to, or \"-\" for standard output\nTry 'confcom simulated root --help'.\n"},
		{[]string{"bench", "--clients=0"}, "confcom bench: --clients=0: must be from 1 to 10000\nTry 'confcom bench --help'.\n"},
		{[]string{"version", "x"}, "confcom version: unexpected argument \"x\": only flags are accepted\nTry 'confcom version --help'.\n"},
		{[]string{"verifier", "serve", "--nonsense"}, "confcom verifier serve: unknown flag: --nonsense\nTry 'confcom verifier serve --help'.\n"},
	} {
		exit, out, errs := clitest.Run(t, nil, c.args...)
		if exit != 2 || out != "" || errs != c.want {
			t.Errorf("%q: exit %d\n%s%s\nwant\n%s", c.args, exit, out, errs, c.want)
		}
	}
	// A file that cannot be used is no mistake that the help explains.
	if exit, _, errs := clitest.Run(t, nil, "quote", "verify", filepath.Join(t.TempDir(), "none")); exit != 2 || strings.Contains(errs, "--help") {
		t.Errorf("exit %d\n%s", exit, errs)
	}
}

// Every command explains itself on a page that fits a terminal of 100 columns.
func TestHelp(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(command *cobra.Command) {
		for _, c := range command.Commands() {
			visit(c)
		}
		if command.Short == "" || command.Long == "" || strings.HasSuffix(command.Short, ".") {
			t.Errorf("%s: short help %q, long help %q", command.CommandPath(), command.Short, command.Long)
		}
		args := append(strings.Fields(command.CommandPath())[1:], "--help")
		exit, out, errs := clitest.Run(t, nil, args...)
		if exit != 0 || errs != "" || !strings.Contains(out, "\nUsage:\n  "+command.CommandPath()) {
			t.Errorf("%s: exit %d\n%s%s", command.CommandPath(), exit, out, errs)
		}
		text, examples, _ := strings.Cut(out, "\nExamples:\n")
		_, flags, _ := strings.Cut(examples, "\nFlags:\n") // command lines of examples may be long
		for line := range strings.Lines(text + flags) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > 105 {
				t.Errorf("%s: %d columns: %s", command.CommandPath(), n, line)
			}
		}
	}
	visit(cli.New())
	if exit, out, _ := clitest.Run(t, nil); exit != 0 || !strings.Contains(out, "\nCommands:\n  bench ") {
		t.Errorf("without a command: exit %d\n%s", exit, out)
	}
}

// As a plugin of kubectl, help and errors have the name that users type.
func TestNameAs(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"top", "--help"}, {"top", "--nonsense"}} {
		var out bytes.Buffer
		command := cli.New()
		cli.NameAs(command, "kubectl confcom")
		command.SetOut(&out)
		command.SetErr(&out)
		cli.Run(t.Context(), command, args)
		if !strings.Contains(out.String(), "kubectl confcom ") || strings.Contains(out.String(), "\n  confcom ") {
			t.Errorf("%q: %s", args, out.String())
		}
	}
	command := cli.New()
	cli.NameAs(command, "kubectl confcom")
	for path, want := range map[string]string{
		"manifest convert": "| kubectl confcom manifest convert - | kubectl apply",
		"support-bundle":   "-- confcom support-bundle --out=-", // in a pod, it has its own name
	} {
		called, _, err := command.Find(strings.Fields(path))
		if err != nil || !strings.Contains(called.Example, want) {
			t.Errorf("%s: %v; want %q in the examples:\n%s", path, err, want, called.Example)
		}
	}
}
