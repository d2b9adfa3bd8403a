package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/attest"
)

func newVerifyCommand() *cobra.Command {
	var (
		output     format
		root, at   string
		allowDebug bool
	)
	command := &cobra.Command{
		Use:   "verify FILE",
		Short: "Judge whether a quote is genuine",
		Long: `Judge whether a quote is genuine: signed by a quoting enclave on a platform
whose certificate chains to a trusted root. That is Intel's, unless --root gives
another, such as that of a simulated platform ('confcom simulated root').

FILE holds the bytes of a quote, or text with a PEM block "SGX QUOTE" in it,
such as the log of a pod; "-" reads the standard input.

Exit codes: 0 trusted, 1 not trusted, 2 bad input.`,
		Example: `  confcom quote verify quote.bin
  kubectl logs job/attested-job | confcom quote verify - --root simulated-root.pem`,
		Args: oneFile,
		RunE: func(command *cobra.Command, args []string) error {
			options := attest.Options{At: time.Now(), Roots: []attest.Root{attest.IntelRoot()}, AllowDebug: allowDebug}
			// An empty value is a mistake, such as a variable that is not set.
			if command.Flags().Changed("root") {
				text, err := readFile(command, root)
				if err != nil {
					return badInput(fmt.Errorf("--root: %w", err))
				}
				trusted, err := attest.ParseRoot(text)
				if err != nil {
					return badInput(fmt.Errorf("--root=%s: %w", root, err))
				}
				options.Roots = []attest.Root{trusted}
			}
			if command.Flags().Changed("at") {
				var err error
				if options.At, err = time.Parse(time.RFC3339, at); err != nil {
					return badInput(fmt.Errorf("--at=%s: not a time such as 2026-01-31T12:00:00Z", at))
				}
			}
			q, _, err := readQuote(command, args[0])
			if err != nil {
				return err
			}
			result, err := attest.Verify(q, options)
			if result == nil {
				return badInput(fmt.Errorf("%s: %w", args[0], err))
			}
			if output == formatJSON {
				err = writeJSON(command, result)
			} else {
				err = showResult(command.OutOrStdout(), result)
			}
			if err != nil {
				return failed(err)
			}
			if !result.Trusted {
				return failed(nil) // the verdict is said
			}
			return nil
		},
	}
	output.flag(command)
	command.Flags().StringVar(&root, "root", "", "trust only the root certificate in this PEM `file`, not Intel's")
	command.Flags().StringVar(&at, "at", "", "judge as of this `time` (RFC 3339), not now")
	command.Flags().BoolVar(&allowDebug, "allow-debug", false, "accept enclaves that a debugger can read")
	return command
}
