package main

import (
	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/deviceplugin"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/epcflags"
)

// addFlags declares the flags of the plugin and sets it to their defaults. The chart
// passes them in templates/sgx-device-plugin.yaml.
func addFlags(flags *pflag.FlagSet, p *deviceplugin.Plugin) {
	epcflags.Add(flags, &p.Policy)
	flags.TextVar(&p.Resources, "resources", deviceplugin.ResourceSet{EPC: true}, "the `names` of the resources that are advertised: epc, enclave (shares of the enclave device), provision (shares of the provision device, which in-process quoting needs), quote-helper ("+string(deviceplugin.QuoteHelper)+", both devices for the quote helper); with EPC in the node's status, enclave always is")
	flags.TextVar(&p.Enclave, "enclave-resource", epc.ResourceName("sgx.intel.com/enclave"), "the `name` of the resource that counts shares of the enclave device")
	flags.TextVar(&p.Provision, "provision-resource", epc.ResourceName("sgx.intel.com/provision"), "the `name` of the resource that counts shares of the provision device")
	flags.TextVar(&p.SharedDevices, "slots", deviceplugin.SharedDeviceCount(256), "the `number` of containers that may share the enclave device, and that may share the provision device, through these two resources")
	flags.StringVar(&p.Grant.AESMDir, "aesm-dir", deviceplugin.DefaultAESMDir, "the host's `directory` with the AESM socket, mounted read-only at "+deviceplugin.DefaultAESMDir+" in containers with EPC; empty for no mount")
	flags.DurationVar(&p.QuoteWait.Timeout, "wait-for-quotes", 0, "after a start without a quote helper, the `time` that containers wait for its AESM socket before they start, at most 25s; 0 for no wait")
	flags.BoolVar(&p.Grant.LegacyPaths, "legacy-device-paths", false, "also give containers the devices as /dev/sgx/enclave and /dev/sgx/provision, for images with an old SGX runtime")
	flags.BoolVar(&p.Grant.CDI, "cdi", false, "let the container runtime add the devices through the Container Device Interface (CDI)")
	flags.StringVar(&p.Grant.CDIDir, "cdi-dir", "/var/run/cdi", "with --cdi, the `directory` in which the container runtime looks for CDI files")
	flags.StringVar(&p.DevicePluginDir, "device-plugin-dir", deviceplugin.DefaultDevicePluginDir, "the kubelet's `directory` for sockets of device plugins")
	flags.StringVar(&p.PodResourcesSocket, "pod-resources-socket", "/var/lib/kubelet/pod-resources/kubelet.sock", "the kubelet's `socket` for the resources of pods, the source of the metric sgx_epc_allocated_bytes and of who keeps the node from changing its mode")
	flags.StringVar(&p.StateDir, "state-dir", "", "the `directory` for the file from which sgx-node-resource learns how EPC is advertised; empty if there is no sgx-node-resource")
	flags.StringVar(&p.NFDDir, "nfd-features-dir", "", "with EPC in the node's status, let Node Feature Discovery write it, by a feature file in this `directory`; empty if sgx-node-resource writes it")
	flags.BoolVar(&p.EnclaveMemory, "enclave-memory", false, "examine the processes of the node for metrics of the enclave memory that they map; needs root with CAP_SYS_PTRACE, and the PID namespace of the node")
	epcflags.AddMachine(flags, &p.Machine)
}
