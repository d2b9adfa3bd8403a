// Package epc decides how much of a machine's EPC (Enclave Page Cache) its node
// advertises to pods, and in which mode. Every program that takes part in the
// advertisement asks this package, so that all of them agree on one node.
//
// Pods see one resource, a count of MiB, in either mode:
//
//   - In mode devices, each MiB is a device of the kubelet. This needs nothing but
//     the kubelet, but the kubelet's cost grows with the square of the number of
//     devices, so the number is capped (see limits.go).
//   - In mode node, the count is in the node's status, where any size costs the
//     same, and a second, small resource brings the device into containers. An
//     admission policy adds the second resource to pods that request the first.
package epc

import "github.com/confcom/confcom/internal/node"

// Capacity is how much of its EPC a node advertises. The zero value advertises
// nothing.
type Capacity struct {
	// Mode is Devices, Node, or empty if the machine has no usable EPC.
	Mode Mode `json:"mode,omitempty"`
	// MiB is how much is advertised.
	MiB int64 `json:"mib"`
	// ReservedMiB is how much is held back by Policy.Reserve.
	ReservedMiB int64 `json:"reservedMiB"`
	// WithheldMiB is how much is left out because of the cap on devices. Why names
	// the cap and what lifts it.
	WithheldMiB int64  `json:"withheldMiB"`
	Why         string `json:"why,omitempty"`
}

// For returns what a machine advertises under the policy.
func (p Policy) For(inv node.Inventory) Capacity {
	if !inv.Usable() {
		return Capacity{}
	}
	reserved := min(p.Reserve, inv.EPC())
	available := (inv.EPC() - reserved).MiB()
	c := Capacity{Mode: p.Mode, MiB: available, ReservedMiB: inv.EPC().MiB() - available}
	limit, why := p.deviceLimit()
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
