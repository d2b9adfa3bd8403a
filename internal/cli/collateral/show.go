package collateral

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/internal/cli/args"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/input"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/cli/trust"
)

func newShow() *cobra.Command {
	command := &cobra.Command{
		Use:   "show FILE",
		Short: "Show what collateral is for, and whether it is valid",
		Long: `Show which platforms collateral is for, whether all of it is signed under the trusted
root, and until when it is valid. FILE is written by 'confcom collateral fetch', or is a
directory with such a file named collateral.json.

Exit codes: 0 valid; 1 not valid; 2 bad input.`,
		Example: `  confcom collateral show collateral.json
  confcom collateral show collateral.json --at 2026-12-31T00:00:00Z`,
		Args: args.File,
	}
	format := output.FormatFlag(command)
	root := trust.RootFlag(command.Flags(), input.Reader(command))
	at := trust.TimeFlag(command)
	command.RunE = func(command *cobra.Command, args []string) error {
		trusted, err := root()
		if err != nil {
			return err
		}
		when, err := at()
		if err != nil {
			return err
		}
		bundle, err := trust.ReadCollateral(args[0])
		if err != nil {
			return exit.BadInput(err)
		}
		result, err := attest.NewVerifier(trusted).Check(&bundle.Collateral, when)
		if result == nil {
			return exit.BadInput(fmt.Errorf("%s: %w", args[0], err))
		}
		if *format == output.JSON {
			err = output.WriteJSON(command, result)
		} else {
			err = show(command.OutOrStdout(), bundle, result, when)
		}
		switch {
		case err != nil:
			return exit.Failed(err)
		case !result.Trusted:
			return exit.Quietly(exit.CodeFailed)
		}
		return nil
	}
	return command
}

func show(w io.Writer, bundle *pcs.Bundle, result *attest.Result, at time.Time) error {
	p := output.NewPage(w)
	if family, err := bundle.Family(); err == nil {
		p.Row("platforms", "%s", family)
	}
	if !bundle.Fetched.IsZero() {
		p.Row("fetched", "%s", bundle.Fetched.UTC().Format(time.RFC3339))
	}
	p.Line("")
	if p.Err() != nil {
		return p.Err()
	}
	return output.Collateral(w, result, at)
}
