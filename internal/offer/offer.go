// Package offer decides how much of a machine's EPC its node offers to pods, and
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
package offer

import (
	"fmt"

	"github.com/confcom/confcom/internal/node"
)

// Way is how EPC becomes a resource.
type Way string

// The ways.
const (
	// Auto is Devices where they can carry all EPC, and with kubelets before
	// 1.36, whose API servers may lack admission policies; else Node.
	Auto    Way = "auto"
	Devices Way = "devices"
	Node    Way = "node"
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

// Offer is what a node offers of its EPC. The zero value is no offer.
type Offer struct {
	// Way is Devices, Node, or empty where the machine has no EPC that pods could
	// use.
	Way Way `json:"way,omitempty"`
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
func (p Policy) For(inv node.Inventory) Offer {
	if !inv.Usable() {
		return Offer{}
	}
	reserved := min(p.Reserve, inv.EPC())
	available := (inv.EPC() - reserved).MiB()
	o := Offer{Way: p.Way, MiB: available, ReservedMiB: inv.EPC().MiB() - available}
	limit, why := p.maxDevices()
	if o.Way == Auto || o.Way == "" {
		if o.Way = Devices; available > limit && p.Kubelet.looksUpDevices() {
			o.Way = Node
		}
	}
	if o.Way == Devices && available > limit {
		o.MiB, o.WithheldMiB, o.Why = limit, available-limit, why
	}
	return o
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
