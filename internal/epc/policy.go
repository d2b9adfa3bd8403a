package epc

import (
	"errors"

	"github.com/confcom/confcom/internal/node"
)

// Policy is how the administrator of a cluster wants EPC to be advertised. The
// zero value is the default but for the name of the resource.
type Policy struct {
	// Resource is the name under which pods request EPC. It counts MiB.
	Resource ResourceName
	// Mode is how EPC becomes a resource; empty is Auto.
	Mode Mode
	// MaxDevices caps the number of devices in mode Devices; 0 leaves the cap to
	// the version of the kubelet.
	MaxDevices DeviceCount
	// Kubelet is the version of the kubelet.
	Kubelet KubeletVersion
	// Reserve is EPC that is never advertised.
	Reserve node.Size
}

// Mode is how EPC becomes a resource.
type Mode string

// The modes.
const (
	// Auto is Node for kubelets since 1.36 with more EPC than they can handle as
	// devices, and Devices otherwise. The API servers of older kubelets may lack the
	// admission policies that mode Node needs.
	Auto    Mode = "auto"
	Devices Mode = "devices"
	Node    Mode = "node"
)

// MarshalText returns the name of the mode.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m), nil }

// UnmarshalText parses the name of a mode.
func (m *Mode) UnmarshalText(text []byte) error {
	switch mode := Mode(text); mode {
	case Auto, Devices, Node:
		*m = mode
		return nil
	}
	return errors.New("not one of auto, devices, node")
}
