// Package node finds out what Intel SGX the machine has: how much Enclave Page
// Cache (EPC), on which NUMA nodes, and the device through which enclaves are
// made. The answer is an Inventory, a plain value. What a node offers to
// Kubernetes is a translation of it, so that only this package has to look at
// a machine, and only its tests need something that looks like one.
package node

import (
	"fmt"
	"strings"
)

// UnknownNode is the NUMA node of a Section whose place is not known.
const UnknownNode = -1

// Inventory is the SGX of a machine at one moment. The zero value is a machine
// without any.
type Inventory struct {
	// Sections are the parts of the EPC. None of them is empty.
	Sections []Section
	// Device is the path on the host of the character device that enclaves are
	// made through, or empty when there is none.
	Device string
	// Simulated tells that no hardware stands behind the sections: containers
	// are scheduled as if there were SGX, but can make no enclave.
	Simulated bool
	// Findings say in words what was looked at and what was there.
	Findings []string
}

// Section is the EPC of one NUMA node.
type Section struct {
	NUMANode int
	Size     Size
}

// Simulated is the inventory of a machine that pretends to have EPC.
func Simulated(epc Size) Inventory {
	return Inventory{
		Sections:  []Section{{NUMANode: 0, Size: epc}},
		Simulated: true,
		Findings:  []string{fmt.Sprintf("%s of EPC are simulated", epc)},
	}
}

// EPC is the size of all sections together.
func (inv Inventory) EPC() Size {
	var sum Size
	for _, section := range inv.Sections {
		sum += section.Size
	}
	return sum
}

// Usable tells whether it makes sense to offer the EPC to containers: there is
// some, and unless it is simulated also the device to make enclaves with.
func (inv Inventory) Usable() bool {
	return inv.EPC() > 0 && (inv.Simulated || inv.Device != "")
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

func (inv Inventory) String() string {
	return fmt.Sprintf("%s of EPC (%s): %s", inv.EPC(), inv.Source(), strings.Join(inv.Findings, "; "))
}
