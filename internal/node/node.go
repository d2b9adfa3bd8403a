// Package node discovers the Intel SGX of a machine: the features of the processor,
// the size of the Enclave Page Cache (EPC) on each NUMA node, and the devices of the
// driver. The result is an Inventory, a plain value. What a node advertises to
// Kubernetes is a translation of it, so only this package reads a machine, and only
// its tests need a directory tree that looks like one.
//
// The package builds on every system, for programs that read a directory tree or
// simulate EPC. Only on Linux does it discover the machine that it runs on.
package node

import (
	"fmt"
	"slices"
)

// UnknownNode is the NUMA node of a Section whose NUMA node is not known.
const UnknownNode = -1

// Inventory is the SGX of a machine at one moment. The zero value is a machine
// without SGX whose processor is not known.
type Inventory struct {
	// Processor is what CPUID reports. It is nil for a directory tree without a
	// dump of CPUID, and for simulated EPC.
	Processor *Processor `json:"processor,omitempty"`
	// Sections are the parts of the EPC, by NUMA node. None of them is empty.
	Sections []Section `json:"sections,omitempty"`
	// Driver is the driver that Enclave and Provision belong to.
	Driver Driver `json:"driver,omitempty"`
	// Enclave is the device that creates enclaves.
	Enclave *Device `json:"enclave,omitempty"`
	// Provision is the device that grants an enclave access to the provisioning
	// key, which only quoting enclaves should have.
	Provision *Device `json:"provision,omitempty"`
	// Simulated is true if no hardware backs the sections: pods are scheduled as
	// if the machine had SGX, but cannot create enclaves.
	Simulated bool `json:"simulated"`
	// Findings list in words what was read and what was found.
	Findings []string `json:"findings"`
	// Warnings list in words what is wrong but need not prevent enclaves from
	// running.
	Warnings []string `json:"warnings,omitempty"`
}

// Section is the EPC of one NUMA node.
type Section struct {
	NUMANode int  `json:"numaNode"`
	Size     Size `json:"bytes"`
}

// EPC returns the total size of all sections.
func (inv Inventory) EPC() Size {
	var sum Size
	for _, section := range inv.Sections {
		sum += section.Size
	}
	return sum
}

// NUMANodes returns the numbers of the known NUMA nodes with EPC, in order.
func (inv Inventory) NUMANodes() []int {
	var nodes []int
	for _, section := range inv.Sections {
		if section.NUMANode != UnknownNode && !slices.Contains(nodes, section.NUMANode) {
			nodes = append(nodes, section.NUMANode)
		}
	}
	return nodes
}

// Usable reports whether containers can use the EPC: it is not empty, and either
// simulated or accompanied by the device that creates enclaves.
func (inv Inventory) Usable() bool {
	return inv.EPC() > 0 && (inv.Simulated || inv.Enclave != nil)
}

// SGXOff reports whether the machine has no SGX before it restarts: the processor or the
// hypervisor has none, or the firmware has switched it off.
func (inv Inventory) SGXOff() bool {
	return !inv.Simulated && inv.Enclave == nil && inv.EPC() == 0 && inv.Processor != nil && !inv.Processor.SGX1
}

// Source returns "hardware", "SIMULATED" or "none".
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
