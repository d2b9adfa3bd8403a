// Sgx-device-plugin advertises the EPC of a node with Intel SGX to pods, as the
// resource kubernetes.azure.com/sgx_epc_mem_in_MiB.
package main

import (
	"os"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/deviceplugin"
)

func main() {
	os.Exit(daemon.Main("sgx-device-plugin", "Advertises this node's EPC (Enclave Page Cache) and SGX devices to pods.", configure))
}

func configure(flags *pflag.FlagSet) daemon.Run {
	var plugin deviceplugin.Plugin
	addFlags(flags, &plugin)
	return plugin.Run
}
