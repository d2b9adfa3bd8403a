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

// serveAbout begins the help of the daemon.
const serveAbout = `Verify quotes over HTTP. POST a quote to /v1/verify, in binary form or as JSON; the answer
is the attestation result, as 'confcom quote verify -o json' prints it. /v1/openapi.json
describes the API. Callers are not authenticated.`

func newServe() *cobra.Command {
	command := &cobra.Command{
		Use:   "serve",
		Short: "Verify quotes over HTTP",
		Long:  serveAbout,
		Example: `  confcom verifier serve --address :8087 --policy policy.json
  curl --data-binary @quote.bin -H 'Content-Type: application/octet-stream' localhost:8087/v1/verify`,
	}
	configure(command)
	return command
}
