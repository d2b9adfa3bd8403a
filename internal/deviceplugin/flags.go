package deviceplugin

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// AddFlags declares the plugin's flags.
func (p *Plugin) AddFlags(flags *pflag.FlagSet) {
	p.Resources, p.Slots = ResourceSet{EPC: true}, 256
	p.Enclave, p.Provision = "sgx.intel.com/enclave", "sgx.intel.com/provision"

	p.Policy.AddFlags(flags)
	flags.Var(&p.Resources, "resources", "what is offered: EPC, use of the enclave device, and use of the provision device, which quoting in process needs; where the EPC is in the status of the node, enclave is always among them")
	flags.Var(&p.Enclave, "enclave-resource", "the name of the resource that counts users of the enclave device")
	flags.Var(&p.Provision, "provision-resource", "the name of the resource that counts users of the provision device")
	flags.Var(&p.Slots, "slots", "how many containers can have the enclave device, and how many the provision device, through these two resources")
	p.Grant.AddFlags(flags)
	flags.StringVar(&p.DevicePluginDir, "device-plugin-dir", DefaultDevicePluginDir, "the kubelet's `directory` for sockets of device plugins")
	flags.StringVar(&p.PodResourcesSocket, "pod-resources-socket", "/var/lib/kubelet/pod-resources/kubelet.sock", "the kubelet's `socket` that tells for the metrics which pods have EPC; not needed otherwise")
	flags.StringVar(&p.NFDDir, "nfd-features-dir", "", "with EPC in the status of the node, have Node Feature Discovery write it, by a file in this `directory` for its local features; empty where sgx-node-resource writes it")
	p.Machine.AddFlags(flags)
}

// DefaultDevicePluginDir is where the kubelet expects the sockets of device
// plugins. It is a constant of the kubelet, whatever its --root-dir.
const DefaultDevicePluginDir = "/var/lib/kubelet/device-plugins"

// ResourceSet says which resources are offered, as the value of a flag.
type ResourceSet struct{ EPC, Enclave, Provision bool }

func (r *ResourceSet) String() string {
	var names []string
	for _, resource := range r.all() {
		if *resource.on {
			names = append(names, resource.name)
		}
	}
	return strings.Join(names, ",")
}

func (r *ResourceSet) Type() string { return "epc,enclave,provision" }

// Set reads the value of a flag.
func (r *ResourceSet) Set(text string) error {
	var set ResourceSet
names:
	for name := range strings.SplitSeq(text, ",") {
		for _, resource := range set.all() {
			if name == resource.name {
				*resource.on = true
				continue names
			}
		}
		return fmt.Errorf("%q is not one of epc, enclave, provision", name)
	}
	*r = set
	return nil
}

func (r *ResourceSet) all() []struct {
	name string
	on   *bool
} {
	return []struct {
		name string
		on   *bool
	}{{"epc", &r.EPC}, {"enclave", &r.Enclave}, {"provision", &r.Provision}}
}

// SlotCount is how many containers can use a device, as the value of a flag.
type SlotCount int

func (n *SlotCount) String() string { return strconv.Itoa(int(*n)) }
func (n *SlotCount) Type() string   { return "int" }

// Set reads the value of a flag.
func (n *SlotCount) Set(text string) error {
	const most = 4096 // more than a node has containers, and quick for any kubelet
	count, err := strconv.Atoi(text)
	if err != nil || count < 1 || count > most {
		return errors.New("not a number from 1 to " + strconv.Itoa(most))
	}
	*n = SlotCount(count)
	return nil
}
