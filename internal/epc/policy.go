package epc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/mod/semver"
	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/confcom/confcom/internal/node"
)

// Policy is what the administrator of a cluster wants to be offered. AddFlags
// gives it its defaults.
type Policy struct {
	// Resource is the name that pods set limits on. It counts MiB of EPC.
	Resource ResourceName
	// Mode is how the EPC becomes a resource; empty is Auto.
	Mode Mode
	// MaxDevices is how many devices are offered at most with the way Devices,
	// or 0 for as many as the kubelet copes with.
	MaxDevices DeviceCount
	// Kubelet is the version of the kubelet.
	Kubelet KubeletVersion
	// Reserve is EPC that is never offered.
	Reserve node.Size
}

// AddFlags declares the flags of the policy.
func (p *Policy) AddFlags(flags *pflag.FlagSet) {
	p.Resource, p.Mode = "kubernetes.azure.com/sgx_epc_mem_in_MiB", Auto
	flags.Var(&p.Resource, "epc-resource", "the name of the resource that counts MiB of EPC")
	flags.Var(&p.Mode, "advertise", "how EPC becomes a resource: as devices of the kubelet, one for each MiB (devices); in the status of the node, for any size (node); as devices up to what the kubelet copes with, else in the status of the node (auto)")
	flags.Var(&p.MaxDevices, "max-devices", "how many devices are advertised at most; 0 for as many as the kubelet copes with")
	flags.Var(&p.Kubelet, "kubelet-version", "the `version` of the kubelet, such as 1.35, or of the API server, which is not older; empty for the newest")
	flags.Var(&p.Reserve, "reserve-epc", "EPC that is never advertised, such as 16Mi")
}

func (m *Mode) String() string { return string(*m) }
func (m *Mode) Type() string   { return "auto|devices|node" }

// Set reads the value of a flag.
func (m *Mode) Set(text string) error {
	switch mode := Mode(text); mode {
	case Auto, Devices, Node:
		*m = mode
		return nil
	}
	return errors.New("not one of auto, devices, node")
}

// DeviceCount is a number of devices up to MaxDevices, as the value of a flag.
type DeviceCount int

func (n *DeviceCount) String() string { return strconv.Itoa(int(*n)) }
func (n *DeviceCount) Type() string   { return "int" }

// Set reads the value of a flag.
func (n *DeviceCount) Set(text string) error {
	count, err := strconv.Atoi(text)
	switch {
	case err != nil || count < 0:
		return errors.New("not a number of devices")
	case count > MaxDevices:
		return fmt.Errorf("more than %d devices do not fit into the message that a kubelet accepts", MaxDevices)
	}
	*n = DeviceCount(count)
	return nil
}

// KubeletVersion is the version of a kubelet, as the value of a flag. The zero
// value is the newest.
type KubeletVersion string

func (v *KubeletVersion) String() string { return string(*v) }
func (v *KubeletVersion) Type() string   { return "version" }

// Set reads the value of a flag.
func (v *KubeletVersion) Set(text string) error {
	version := "v" + strings.TrimPrefix(text, "v")
	switch {
	case text == "":
		*v = ""
	case !semver.IsValid(version) || !strings.Contains(version, "."):
		return errors.New("not a version such as 1.37 or v1.36.3")
	default:
		*v = KubeletVersion(version)
	}
	return nil
}

// looksUpDevices tells whether the kubelet looks up every device in every pod.
func (v KubeletVersion) looksUpDevices() bool {
	return v == "" || semver.Compare(string(v), "v1.36.0-0") >= 0
}

// ResourceName is the name of an extended resource of Kubernetes, as the value
// of a flag.
type ResourceName string

func (r *ResourceName) String() string { return string(*r) }
func (r *ResourceName) Type() string   { return "name" }

// Set reads the value of a flag.
func (r *ResourceName) Set(text string) error {
	domain, _, found := strings.Cut(text, "/")
	switch {
	case !found:
		return errors.New("not the name of an extended resource, such as example.com/epc: it has no domain")
	case strings.HasSuffix(domain, "kubernetes.io") || strings.HasPrefix(domain, "requests."):
		return fmt.Errorf("the domain %s is Kubernetes' own: the kubelet would refuse it", domain)
	}
	// In a quota the name has a prefix, and must be valid with it.
	if problems := content.IsLabelKey("requests." + text); len(problems) > 0 {
		return errors.New("not the name of an extended resource, such as example.com/epc: " + strings.Join(problems, "; "))
	}
	*r = ResourceName(text)
	return nil
}
