// Package quote is the command 'confcom quote', whose subcommands get, inspect and
// verify quotes.
package quote

import (
	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/args"
)

// New returns the command.
func New() *cobra.Command {
	return args.Group(&cobra.Command{
		Use:   "quote",
		Short: "Get, inspect and verify quotes",
		Long: `Get, inspect and verify quotes: the signed statements by which an enclave proves to a
relying party which code it runs, on which platform.`,
	}, newGet(), newInspect(), newReport(), newVerify())
}

// fileAbout describes the argument FILE of the commands that read a quote.
const fileAbout = `FILE contains one quote: in binary form, hexadecimal, base64, or a PEM block
"SGX QUOTE" such as in the log of a pod; in an Open Enclave report, an RA-TLS
certificate, a CMW, or the JSON of an attestation service. "-" reads standard input.`
