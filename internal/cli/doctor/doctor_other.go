//go:build !linux

package doctor

import (
	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/unsupported"
)

func configure(command *cobra.Command) {
	unsupported.Command(command, "quotes are made on Linux only; run it on the node or in the quote helper's pod")
}
