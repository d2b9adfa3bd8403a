// Package unsupported stands in for commands that need Linux on other systems.
package unsupported

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/exit"
)

// Command makes command fail with a reason, whatever its flags and arguments are. Its
// help remains.
func Command(command *cobra.Command, reason string) {
	command.FParseErrWhitelist.UnknownFlags = true
	command.Args = cobra.ArbitraryArgs
	command.RunE = func(*cobra.Command, []string) error {
		return exit.Failed(errors.New(reason))
	}
}
