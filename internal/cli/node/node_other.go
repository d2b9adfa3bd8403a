//go:build !linux

package node

import (
	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/unsupported"
)

func configure(command *cobra.Command) {
	unsupported.Command(command, "only Linux has /sys and /dev for SGX; run it on the node")
}
