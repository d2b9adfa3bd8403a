package deviceplugin

import (
	"maps"
	"path/filepath"
	"slices"

	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/pkg/parser"
	"tags.cncf.io/container-device-interface/specs-go"
)

// The vendor and class in the qualified names of the devices, such as
// confcom.github.io/sgx=enclave, and the name of the file that describes them.
const (
	cdiVendor = "confcom.github.io"
	cdiClass  = "sgx"
	cdiFile   = "confcom-sgx.json"
)

// writeCDIFile writes the CDI (Container Device Interface) description of the devices
// by name, and returns the qualified names under which the container runtime knows
// them. The file stays when the plugin stops, since containers may restart meanwhile.
func writeCDIFile(dir string, devices map[string][]*v1beta1.DeviceSpec) (map[string][]*v1beta1.CDIDevice, error) {
	spec := &specs.Spec{Kind: cdiVendor + "/" + cdiClass}
	qualified := make(map[string][]*v1beta1.CDIDevice)
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		if len(devices[name]) == 0 {
			continue
		}
		device := specs.Device{Name: name}
		for _, node := range devices[name] {
			device.ContainerEdits.DeviceNodes = append(device.ContainerEdits.DeviceNodes,
				&specs.DeviceNode{Path: node.ContainerPath, HostPath: node.HostPath, Permissions: node.Permissions})
		}
		spec.Devices = append(spec.Devices, device)
		qualified[name] = []*v1beta1.CDIDevice{{Name: parser.QualifiedName(cdiVendor, cdiClass, name)}}
	}
	if len(spec.Devices) == 0 { // simulated EPC without a device
		return qualified, nil
	}
	version, err := specs.MinimumRequiredVersion(spec)
	if err != nil {
		return nil, err
	}
	spec.Version = version
	cache, err := cdi.NewCache(cdi.WithSpecDirs(dir), cdi.WithAutoRefresh(false))
	if err != nil {
		return nil, err
	}
	return qualified, nameFile(filepath.Join(dir, cdiFile), cache.WriteSpec(spec, cdiFile)) // atomically
}
