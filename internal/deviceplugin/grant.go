package deviceplugin

import (
	"fmt"
	"slices"

	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/confcom/confcom/internal/node"
)

// DefaultAESMDir is where Intel's client library expects the AESM socket.
const DefaultAESMDir = "/var/run/aesmd"

// Grant is what containers get for the resources, and how.
type Grant struct {
	// AESMDir is the directory on the host that containers see as DefaultAESMDir;
	// empty for none.
	AESMDir string
	// LegacyPaths also gives containers the devices under the names of Intel's DCAP
	// driver, the only ones that older images know.
	LegacyPaths bool
	// CDI names the devices to the container runtime instead of listing them. A file
	// in CDIDir describes them.
	CDI    bool
	CDIDir string
}

// grants are what a container gets for each resource, whatever the amount.
type grants struct {
	enclave     *v1beta1.ContainerAllocateResponse // for EPC as well
	provision   *v1beta1.ContainerAllocateResponse
	quoteHelper *v1beta1.ContainerAllocateResponse // both devices
}

// For returns what containers get on a machine. With CDI, it first writes the file
// that describes the devices.
func (g *Grant) For(inv node.Inventory) (grants, error) {
	enclave := g.deviceSpecs(inv.Enclave, node.DCAPEnclave)
	provision := g.deviceSpecs(inv.Provision, node.DCAPProvision)
	out := grants{
		enclave:     new(v1beta1.ContainerAllocateResponse),
		provision:   new(v1beta1.ContainerAllocateResponse),
		quoteHelper: new(v1beta1.ContainerAllocateResponse),
	}
	if g.CDI {
		names, err := writeCDIFile(g.CDIDir, map[string][]*v1beta1.DeviceSpec{"enclave": enclave, "provision": provision})
		if err != nil {
			return grants{}, fmt.Errorf("write CDI file: %w", err)
		}
		out.enclave.CdiDevices, out.provision.CdiDevices = names["enclave"], names["provision"]
		out.quoteHelper.CdiDevices = slices.Concat(names["enclave"], names["provision"])
	} else {
		out.enclave.Devices, out.provision.Devices = enclave, provision
		out.quoteHelper.Devices = slices.Concat(enclave, provision)
	}
	// The mount is the directory rather than the socket in it: a mounted socket would
	// be dead once the daemon behind it has restarted.
	if g.AESMDir != "" {
		out.enclave.Mounts = []*v1beta1.Mount{{HostPath: g.AESMDir, ContainerPath: DefaultAESMDir, ReadOnly: true}}
	}
	return out, nil
}

// deviceSpecs returns a device under each of its names in a container.
func (g *Grant) deviceSpecs(device *node.Device, legacy string) []*v1beta1.DeviceSpec {
	if device == nil {
		return nil
	}
	as := func(path string) *v1beta1.DeviceSpec {
		return &v1beta1.DeviceSpec{HostPath: device.Node, ContainerPath: path, Permissions: "rw"}
	}
	specs := []*v1beta1.DeviceSpec{as(device.Path)}
	if g.LegacyPaths && device.Path != legacy {
		specs = append(specs, as(legacy))
	}
	return specs
}
