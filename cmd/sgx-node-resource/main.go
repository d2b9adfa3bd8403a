// Sgx-node-resource writes how much EPC a node offers to pods into the status of
// the node, for nodes with more of it than the kubelet can hand out as devices.
package main

import (
	"os"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/nodestatus"
)

func main() {
	os.Exit(daemon.Main("sgx-node-resource", "Writes how much EPC this node offers to pods into the status of the node.", configure))
}

func configure(flags *pflag.FlagSet) daemon.Run {
	var writer nodestatus.Writer
	writer.AddFlags(flags)
	return writer.Run
}
