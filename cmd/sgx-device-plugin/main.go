// Sgx-device-plugin offers the EPC of a node's Intel SGX to pods, as the
// resource kubernetes.azure.com/sgx_epc_mem_in_MiB.
package main

import (
	"context"
	"os"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/deviceplugin"
	"github.com/confcom/confcom/internal/node"
)

func main() {
	os.Exit(daemon.Main("sgx-device-plugin", "Offers the EPC memory of this node's Intel SGX to pods as "+deviceplugin.Resource+".", configure))
}

func configure(flags *pflag.FlagSet) daemon.Run {
	var simulated node.Size
	flags.Var(&simulated, "simulate-epc", "pretend to have this much EPC, such as 64Mi, instead of looking for SGX; pods are scheduled but can make no enclave")
	kubeletDir := flags.String("kubelet-dir", deviceplugin.DefaultKubeletDir, "the kubelet's `directory` for sockets of device plugins")
	aesmDir := flags.String("aesm-dir", deviceplugin.DefaultAESMDir, "the host's `directory` with the AESM socket, which containers with EPC get read-only at "+deviceplugin.DefaultAESMDir+"; empty gives them none")
	sysroot := flags.String("sysroot", "/", "the `directory` that the host's /sys and /dev are looked for in")

	return func(ctx context.Context, env *daemon.Environment) error {
		inventory := node.Simulated(simulated)
		if simulated == 0 {
			var err error
			if inventory, err = node.Discover(*sysroot); err != nil {
				return err
			}
		}
		if !inventory.Usable() {
			env.Log.Warn("this node has no SGX that pods could use: nothing is advertised", "findings", inventory.Findings)
			<-ctx.Done()
			return nil
		}
		plugin := deviceplugin.Plugin{
			Inventory:  inventory,
			KubeletDir: *kubeletDir,
			AESMDir:    *aesmDir,
			Log:        env.Log,
			Registered: env.Health.Condition("registered").Set,
		}
		return plugin.Run(ctx)
	}
}
