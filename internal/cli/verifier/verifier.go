// Package verifier is the command 'confcom verifier', whose subcommand verifies quotes
// for others.
package verifier

import (
	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/args"
)

// New returns the command.
func New() *cobra.Command {
	return args.Group(&cobra.Command{
		Use:   "verifier",
		Short: "Verify quotes as a service",
		Long: `Verify quotes as a service: relying parties send quotes over HTTP, and receive
attestation results.`,
	}, newServe())
}
