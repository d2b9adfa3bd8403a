package epc

import (
	"errors"
	"fmt"
	"strconv"
)

// The caps on the number of devices, which is the number of MiB in mode devices.
const (
	// MaxDevices is how many devices fit into the 4 MiB that a kubelet accepts as
	// the device list of a plugin. It drops a plugin with a longer list, and the
	// node then has no EPC at all.
	MaxDevices = 256 << 10
	// maxDevicesLookedUp applies to kubelets since 1.36, which look up each device in
	// the devices of each pod when they start, and block meanwhile: for 3 seconds
	// with this many devices, half of them in use; for 152 seconds with eight times
	// as many.
	maxDevicesLookedUp = 8 << 10
)

// deviceLimit returns the cap on devices, and the reason for it.
func (p Policy) deviceLimit() (limit int64, why string) {
	const remedy = "mode node, which needs Kubernetes 1.36, can advertise all EPC"
	switch {
	case p.MaxDevices > 0:
		return int64(p.MaxDevices), fmt.Sprintf("at most %d devices are configured; %s", p.MaxDevices, remedy)
	case p.Kubelet.looksUpDevices():
		return maxDevicesLookedUp, fmt.Sprintf("with more than %d devices, kubelets since 1.36 block for a long time when they start; %s", maxDevicesLookedUp, remedy)
	default:
		return MaxDevices, fmt.Sprintf("kubelets reject lists of more than %d devices; %s", MaxDevices, remedy)
	}
}

// DeviceCount is a number of devices, from 0 to MaxDevices.
type DeviceCount int

// MarshalText returns the number in decimal.
func (n DeviceCount) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(n), 10), nil }

// UnmarshalText parses a decimal number of devices.
func (n *DeviceCount) UnmarshalText(text []byte) error {
	count, err := strconv.Atoi(string(text))
	switch {
	case err != nil || count < 0:
		return errors.New("not a number of devices")
	case count > MaxDevices:
		return fmt.Errorf("more than %d devices exceed the message size that a kubelet accepts", MaxDevices)
	}
	*n = DeviceCount(count)
	return nil
}
