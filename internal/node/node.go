// Package node finds out what Intel SGX the machine has: what the processor can
// do, how much Enclave Page Cache (EPC) there is and on which NUMA nodes, and the
// devices of the driver. The answer is an Inventory, a plain value. What a node
// offers to Kubernetes is a translation of it, so that only this package has to
// look at a machine, and only its tests need something that looks like one.
package node

import (
	"fmt"
	"slices"
)

// UnknownNode is the NUMA node of a Section whose place is not known.
const UnknownNode = -1

// Inventory is the SGX of a machine at one moment. The zero value is a machine
// without any, whose processor is not known.
type Inventory struct {
	// Processor is what CPUID says, or nil where it cannot be asked: in a
	// directory tree without a dump of it, and on a simulated machine.
	Processor *Processor `json:"processor,omitempty"`
	// Sections are the parts of the EPC, by NUMA node. None of them is empty.
	Sections []Section `json:"sections,omitempty"`
	// Driver is whose devices Enclave and Provision are.
	Driver Driver `json:"driver,omitempty"`
	// Enclave is the device that enclaves are made through.
	Enclave *Device `json:"enclave,omitempty"`
	// Provision is the device that lets an enclave have the provisioning key,
	// which quoting enclaves need and no other should have.
	Provision *Device `json:"provision,omitempty"`
	// Simulated tells that no hardware stands behind the sections: containers
	// are scheduled as if there were SGX, but can make no enclave.
	Simulated bool `json:"simulated"`
	// Findings say in words what was looked at and what was there.
	Findings []string `json:"findings"`
	// Warnings say in words what is not as it should be, though it need not
	// keep enclaves from running.
	Warnings []string `json:"warnings,omitempty"`
}

// Section is the EPC of one NUMA node.
type Section struct {
	NUMANode int  `json:"numaNode"`
	Size     Size `json:"bytes"`
}

// EPC is the size of all sections together.
func (inv Inventory) EPC() Size {
	var sum Size
	for _, section := range inv.Sections {
		sum += section.Size
	}
	return sum
}

// NUMANodes are the numbers of the NUMA nodes with EPC, as far as they are
// known, in order.
func (inv Inventory) NUMANodes() []int {
	var nodes []int
	for _, section := range inv.Sections {
		if section.NUMANode != UnknownNode && !slices.Contains(nodes, section.NUMANode) {
			nodes = append(nodes, section.NUMANode)
		}
	}
	return nodes
}

// Usable tells whether it makes sense to offer the EPC to containers: there is
// some, and unless it is simulated also the device to make enclaves with.
func (inv Inventory) Usable() bool {
	return inv.EPC() > 0 && (inv.Simulated || inv.Enclave != nil)
}

// Source is "hardware", "SIMULATED" or "none".
func (inv Inventory) Source() string {
	switch {
	case inv.Simulated:
		return "SIMULATED"
	case inv.EPC() > 0:
		return "hardware"
	default:
		return "none"
	}
}

// found adds a sentence to the findings.
func (inv *Inventory) found(format string, args ...any) {
	inv.Findings = append(inv.Findings, fmt.Sprintf(format, args...))
}

// warn adds a sentence to the warnings.
func (inv *Inventory) warn(format string, args ...any) {
	inv.Warnings = append(inv.Warnings, fmt.Sprintf(format, args...))
}
