// Package demo is the command 'confcom demo': it gets a quote from a quote helper with a
// simulated platform and has two verifiers appraise it, in one process.
package demo

import (
	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/args"
)

// New returns the command.
func New() *cobra.Command {
	command := &cobra.Command{
		Use:   "demo",
		Short: "Show remote attestation from end to end, with a simulated platform",
		Long: `Show remote attestation from end to end, with a simulated SGX platform: start a quote
helper on a socket of its own, get a quote from it over AESM (Intel's protocol for
quotes), and verify the quote. The demo takes less than a second, needs neither SGX nor
Kubernetes, and leaves nothing behind.`,
		Example: `  confcom demo`,
		Args:    args.None,
	}
	configure(command)
	return command
}
