package quote

import (
	"github.com/spf13/cobra"

	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/internal/cli/args"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/input"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/quote"
)

// inspected is what the command prints as JSON.
type inspected struct {
	*quote.Quote
	Evidence evidence.Summary `json:"evidence"`
}

func newInspect() *cobra.Command {
	command := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show the contents of a quote without verifying it",
		Long: `Show the contents of a quote without verifying it, the form in which it was, and what
came with it.

` + fileAbout,
		Example: `  confcom quote inspect quote.bin
  kubectl logs job/attested-job | confcom quote inspect - -o json`,
		Args: args.File,
	}
	format := output.FormatFlag(command)
	command.RunE = func(command *cobra.Command, args []string) error {
		e, err := input.Evidence(command, args[0])
		if err != nil {
			return err
		}
		if *format == output.JSON {
			err = output.WriteJSON(command, inspected{e.Parsed, e.Summary()})
		} else {
			err = output.Evidence(command.OutOrStdout(), e)
		}
		if err != nil {
			return exit.Failed(err)
		}
		return nil
	}
	return command
}
