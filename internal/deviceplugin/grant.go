package deviceplugin

import (
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/confcom/confcom/internal/node"
)

// DefaultAESMDir is where Intel's client library looks for the AESM socket.
const DefaultAESMDir = "/var/run/aesmd"

// Grant says how containers get what they are given. AddFlags gives it its
// defaults.
type Grant struct {
	// AESMDir is the directory on the host that containers see as
	// DefaultAESMDir; empty for none.
	AESMDir string
	// LegacyPaths gives containers the devices also by the names that they have
	// with Intel's DCAP driver, which older images know alone.
	LegacyPaths bool
	// CDI names the devices to the container runtime instead of listing them,
	// by a file in CDIDir that describes them.
	CDI    bool
	CDIDir string
}

// AddFlags declares the flags of the grant.
func (g *Grant) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&g.AESMDir, "aesm-dir", DefaultAESMDir, "the host's `directory` with the AESM socket, which containers with EPC get read-only at "+DefaultAESMDir+"; empty gives them none")
	flags.BoolVar(&g.LegacyPaths, "legacy-device-paths", false, "give containers the devices as /dev/sgx/enclave and /dev/sgx/provision, too, for images with an old SGX runtime")
	flags.BoolVar(&g.CDI, "cdi", false, "let the container runtime add the devices through the Container Device Interface")
	flags.StringVar(&g.CDIDir, "cdi-dir", "/var/run/cdi", "with --cdi, the `directory` in which the container runtime looks for descriptions of devices")
}

// grants are what a container gets for each resource, whatever the amount.
type grants struct {
	enclave   *v1beta1.ContainerAllocateResponse // for EPC, too
	provision *v1beta1.ContainerAllocateResponse
}

// For is what containers get on a machine. With CDI it writes the description
// of the devices first.
func (g *Grant) For(inv node.Inventory) (grants, error) {
	enclave := g.paths(inv.Enclave, node.DCAPEnclave)
	provision := g.paths(inv.Provision, node.DCAPProvision)
	out := grants{enclave: new(v1beta1.ContainerAllocateResponse), provision: new(v1beta1.ContainerAllocateResponse)}
	if g.CDI {
		names, err := describeDevices(g.CDIDir, map[string][]*v1beta1.DeviceSpec{"enclave": enclave, "provision": provision})
		if err != nil {
			return grants{}, fmt.Errorf("describe the SGX devices to the container runtime (--cdi): %w", err)
		}
		out.enclave.CdiDevices, out.provision.CdiDevices = names["enclave"], names["provision"]
	} else {
		out.enclave.Devices, out.provision.Devices = enclave, provision
	}
	// The directory is mounted rather than the socket in it, since a mounted
	// socket would be a dead one after the daemon behind it has restarted.
	if g.AESMDir != "" {
		out.enclave.Mounts = []*v1beta1.Mount{{HostPath: g.AESMDir, ContainerPath: DefaultAESMDir, ReadOnly: true}}
	}
	return out, nil
}

// paths are the names by which a container sees a device.
func (g *Grant) paths(device *node.Device, legacy string) []*v1beta1.DeviceSpec {
	if device == nil {
		return nil
	}
	as := func(path string) *v1beta1.DeviceSpec {
		return &v1beta1.DeviceSpec{HostPath: device.Node, ContainerPath: path, Permissions: "rw"}
	}
	paths := []*v1beta1.DeviceSpec{as(device.Path)}
	if g.LegacyPaths && device.Path != legacy {
		paths = append(paths, as(legacy))
	}
	return paths
}
