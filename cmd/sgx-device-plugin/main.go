// Sgx-device-plugin advertises the EPC memory of a node's Intel SGX to pods, as the
// resource kubernetes.azure.com/sgx_epc_mem_in_MiB.
package main

import (
	"os"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/deviceplugin"
)

func main() {
	os.Exit(daemon.Main("sgx-device-plugin", "Advertises the EPC memory and the devices of this node's Intel SGX to pods.", configure))
}

func configure(flags *pflag.FlagSet) daemon.Run {
	var plugin deviceplugin.Plugin
	addFlags(flags, &plugin)
	return plugin.Run
}
