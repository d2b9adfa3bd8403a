// Package collateral is the command 'confcom collateral', whose subcommands fetch and
// show what quotes are verified with.
package collateral

import (
	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/args"
)

// New returns the command.
func New() *cobra.Command {
	return args.Group(&cobra.Command{
		Use:   "collateral",
		Short: "Fetch and show the collateral that quotes are verified with",
		Long: `Fetch and show collateral: what Intel publishes for verifiers. It consists of TCB
(trusted computing base) info, the identity of the quoting enclave and revocation lists.`,
	}, newFetch(), newShow())
}
