// Package doctor is the command 'confcom doctor': it shows, check by check, why there are no
// quotes here. The checks are in internal/doctor.
package doctor

import (
	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/args"
)

// New returns the command.
func New() *cobra.Command {
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Diagnose whether quotes can be obtained here, and if not, why",
		Long: `Diagnose whether quotes can be obtained here, and if not, why. The checks go from the
processor up to a quote; each reports what it found and what to do about it. They
examine the quote helper's pod, with the flags of the helper; the pod of an application;
or a machine. All images of confcom contain the command:

  kubectl -n confcom-system exec ds/sgx-quote-helper -- confcom doctor

If a quote can be obtained, every other failed check is reported as a warning: the
quote helper's pod may have what this machine lacks.

Exit codes: 0 no problem; 1 a problem; 2 bad input.`,
		Example: `  confcom doctor
  confcom doctor --check=network --check=configuration
  confcom doctor -o json | jq '.[] | select(.verdict == "problem")'`,
		Args: args.None,
	}
	configure(command)
	return command
}
