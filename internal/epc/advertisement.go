// Package epc decides how much of a machine's EPC its node offers to pods, and
// in which of two ways. All programs that have a part in the offer ask this
// package, so that on one node they come to the same answer.
//
// Pods see one resource, a count of MiB, whichever way it comes about:
//
//   - With devices, each MiB is a device that the kubelet hands out. It needs
//     nothing but the kubelet, but the kubelet's cost grows with the square of
//     the devices: there is a cap.
//   - With node, the count stands in the status of the node, where it costs
//     nothing, and a second, small resource brings the device into containers.
//     Any size can be offered, but it takes an admission policy that asks for the
//     second resource where a pod asks for the first.
package epc

import (
	"fmt"

	"github.com/confcom/confcom/internal/node"
)

// Mode is how EPC becomes a resource.
type Mode string

// The ways.
const (
	// Auto is Devices where they can carry all EPC, and with kubelets before
	// 1.36, whose API servers may lack admission policies; else Node.
	Auto    Mode = "auto"
	Devices Mode = "devices"
	Node    Mode = "node"
)

// The caps on the number of devices.
const (
	// MaxDevices is what fits into the 4 MiB that a kubelet reads as the list of
	// a plugin's devices. It drops a plugin whose list is longer, and the node
	// then has none.
	MaxDevices = 256 << 10
	// maxDevicesPerPod is for kubelets since 1.36, which after their start look
	// for each device in the devices of each pod, and stand still while they do:
	// 3 seconds with this many when half of them are in use, 152 seconds with
	// eight times as many.
	maxDevicesPerPod = 8 << 10
)

// Capacity is what a node offers of its EPC. The zero value is no offer.
type Capacity struct {
	// Mode is Devices, Node, or empty where the machine has no EPC that pods could
	// use.
	Mode Mode `json:"mode,omitempty"`
	// MiB is how much is offered.
	MiB int64 `json:"mib"`
	// ReservedMiB is how much is kept back on request.
	ReservedMiB int64 `json:"reservedMiB"`
	// WithheldMiB is how much is not offered although it could be, and Why says
	// the reason and what can be done.
	WithheldMiB int64  `json:"withheldMiB"`
	Why         string `json:"why,omitempty"`
}

// For is the offer of a machine.
func (p Policy) For(inv node.Inventory) Capacity {
	if !inv.Usable() {
		return Capacity{}
	}
	reserved := min(p.Reserve, inv.EPC())
	available := (inv.EPC() - reserved).MiB()
	c := Capacity{Mode: p.Mode, MiB: available, ReservedMiB: inv.EPC().MiB() - available}
	limit, why := p.maxDevices()
	if c.Mode == Auto || c.Mode == "" {
		if c.Mode = Devices; available > limit && p.Kubelet.looksUpDevices() {
			c.Mode = Node
		}
	}
	if c.Mode == Devices && available > limit {
		c.MiB, c.WithheldMiB, c.Why = limit, available-limit, why
	}
	return c
}

// maxDevices is the cap on devices, and the reason for it.
func (p Policy) maxDevices() (limit int64, why string) {
	const all = "with --advertise=node, which takes Kubernetes 1.36, all of it can be offered"
	switch {
	case p.MaxDevices > 0:
		return int64(p.MaxDevices), fmt.Sprintf("--max-devices=%d; %s", p.MaxDevices, all)
	case p.Kubelet.looksUpDevices():
		return maxDevicesPerPod, fmt.Sprintf("kubelets since 1.36 stand still for long after their start with more than %d devices; %s", maxDevicesPerPod, all)
	default:
		return MaxDevices, fmt.Sprintf("kubelets accept no list of more than %d devices; %s", MaxDevices, all)
	}
}
