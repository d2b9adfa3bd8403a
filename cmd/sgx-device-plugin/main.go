// Sgx-device-plugin offers the EPC of a node's Intel SGX to pods, as the
// resource kubernetes.azure.com/sgx_epc_mem_in_MiB.
package main

import (
	"os"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/deviceplugin"
)

func main() {
	os.Exit(daemon.Main("sgx-device-plugin", "Offers the EPC memory of this node's Intel SGX, and its devices, to pods.", configure))
}

func configure(flags *pflag.FlagSet) daemon.Run {
	var plugin deviceplugin.Plugin
	plugin.AddFlags(flags)
	return plugin.Run
}
