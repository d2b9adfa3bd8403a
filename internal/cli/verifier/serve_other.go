//go:build !linux

package verifier

import (
	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/unsupported"
)

func configure(command *cobra.Command) {
	unsupported.Command(command, "the service needs Linux; 'confcom quote verify' verifies quotes here")
}
