//go:build !linux

package demo

import (
	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/unsupported"
)

func configure(command *cobra.Command) {
	unsupported.Command(command, "the quote helper needs Linux; run it on a Linux machine or in a container")
}
