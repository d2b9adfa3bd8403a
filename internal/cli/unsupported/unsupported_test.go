package unsupported_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/unsupported"
)

// The reason is given before any mistake in the command line. The help remains.
func TestCommand(t *testing.T) {
	for _, args := range [][]string{nil, {"argument"}, {"--flag=value", "-x"}, {"--help"}} {
		command := &cobra.Command{Use: "node", Long: "Show what only Linux has.", Args: cobra.NoArgs, SilenceErrors: true, SilenceUsage: true}
		unsupported.Command(command, "only Linux has it")
		var out strings.Builder
		command.SetOut(&out)
		command.SetArgs(args)
		err := command.Execute()
		if len(args) > 0 && args[0] == "--help" {
			if err != nil || !strings.Contains(out.String(), command.Long) {
				t.Errorf("%q: %v\n%s", args, err, &out)
			}
			continue
		}
		if e, ok := errors.AsType[*exit.Error](err); !ok || e.Code != exit.CodeFailed || e.Error() != "only Linux has it" || out.String() != "" {
			t.Errorf("%q: %v\n%s", args, err, &out)
		}
	}
}
