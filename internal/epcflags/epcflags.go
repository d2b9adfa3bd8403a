// Package epcflags declares the command-line flags that several programs share: how
// EPC is advertised, and of which machine.
package epcflags

import (
	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/node"
)

// Add declares the flags of a policy and sets it to their defaults.
func Add(flags *pflag.FlagSet, p *epc.Policy) {
	flags.TextVar(&p.Resource, "epc-resource", epc.DefaultResource, "the `name` of the resource that counts MiB of EPC")
	flags.TextVar(&p.Mode, "advertise", epc.Auto, "the `mode` in which EPC becomes a resource: devices (one kubelet device per MiB), node (a count in the node's status, for any size), or auto (devices up to the number that the kubelet can handle, else node)")
	flags.TextVar(&p.MaxDevices, "max-devices", epc.DeviceCount(0), "the maximum `number` of devices; 0 for as many as the kubelet can handle")
	flags.TextVar(&p.Kubelet, "kubelet-version", epc.KubeletVersion(""), "the `version` of the kubelet, such as 1.35, or of the API server, which is at least as new; empty for the newest")
	flags.Var(&p.Reserve, "reserve-epc", "how much EPC is never advertised: a `size` such as 16Mi")
}

// AddMachine declares the flags that select a machine and sets it to their defaults.
func AddMachine(flags *pflag.FlagSet, m *node.Machine) {
	flags.StringVar(&m.Sysroot, "sysroot", "/", "the `directory` with the machine's /sys and /dev; unless it is /, CPUID is read from the file "+node.CPUIDDump+" in it, the output of 'cpuid -1 -r'")
	flags.Var(&m.SimulatedEPC, "simulate-epc", "pretend that the machine has this much EPC, such as 64Mi; pods are scheduled but cannot create enclaves")
	flags.StringVar(&m.SimulatedDevice, "simulate-device", "", "with --simulate-epc, the host's `device`, such as /dev/null, that containers get in place of the SGX devices")
}
