package node

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/cpuid/v2"
)

// Processor is what the processor reports about SGX in the CPUID leaves 7 and 0x12
// (Intel SDM volume 3D, section "Discovering Support for Intel SGX").
type Processor struct {
	// SGX is true if the processor has SGX, even if it is switched off.
	SGX bool `json:"sgx"`
	// SGX1 is true if enclaves can be created: the firmware has switched SGX on.
	SGX1 bool `json:"sgx1"`
	// SGX2 is true if enclaves can change their memory while they run (EDMM).
	SGX2 bool `json:"sgx2"`
	// FLC is true if the processor has Flexible Launch Control. Without it, the
	// in-kernel driver does nothing and enclaves need Intel's launch enclave.
	FLC bool `json:"flc"`
	// EPC are the sizes of the EPC sections. CPUID does not report NUMA nodes.
	EPC []Size `json:"epcBytes,omitempty"`
}

// String returns the features, such as "SGX1, FLC", or why there are none.
func (p Processor) String() string {
	var has []string
	for _, feature := range []struct {
		there bool
		name  string
	}{{p.SGX1, "SGX1"}, {p.SGX2, "SGX2"}, {p.FLC, "FLC"}} {
		if feature.there {
			has = append(has, feature.name)
		}
	}
	switch {
	case !p.SGX:
		return "no SGX"
	case !p.SGX1:
		return "SGX, switched off"
	}
	return strings.Join(has, ", ")
}

// CPUIDDump is the file in a Sysroot with the CPUID of the machine that the
// directory tree looks like: the output of 'cpuid -1 -r'.
const CPUIDDump = "cpuid"

// readProcessor reads CPUID from the processor that the program runs on, or from
// the dump in a directory tree.
func (inv *Inventory) readProcessor(root string) error {
	if root == "/" {
		inv.Processor = thisProcessor()
	} else {
		path := filepath.Join(root, CPUIDDump)
		dump, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			inv.found("%s does not exist: the features of the processor are not known", path)
			return nil
		}
		if err != nil {
			return fmt.Errorf("read CPUID dump: %w", err)
		}
		if inv.Processor, err = parseDump(dump); err != nil {
			return fmt.Errorf("parse CPUID dump %s: %w: create it with 'cpuid -1 -r'", path, err)
		}
	}
	inv.found("CPUID: %s", inv.Processor)
	for i, size := range inv.Processor.EPC {
		inv.found("CPUID leaf 0x12: EPC section %d has %d bytes", i, size)
	}
	return nil
}

// thisProcessor returns the features of the processor that the program runs on.
func thisProcessor() *Processor {
	sgx := cpuid.CPU.SGX
	p := &Processor{SGX: sgx.Available, SGX1: sgx.SGX1Supported, SGX2: sgx.SGX2Supported, FLC: sgx.LaunchControl}
	for _, section := range sgx.EPCSections {
		p.EPC = append(p.EPC, Size(section.EPCSize))
	}
	return p
}

// registers are the result of one leaf of CPUID.
type registers struct{ eax, ebx, ecx, edx uint32 }

// parseDump parses the output of 'cpuid -1 -r', which has a line for each leaf and
// subleaf, such as
//
//	0x00000007 0x00: eax=0x00000000 ebx=0x00000004 ecx=0x40000000 edx=0x00000000
func parseDump(dump []byte) (*Processor, error) {
	leaves := make(map[[2]uint32]registers)
	lines := bufio.NewScanner(bytes.NewReader(dump))
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "CPU") {
			continue
		}
		var at [2]uint32
		var r registers
		if _, err := fmt.Sscanf(line, "0x%x 0x%x: eax=0x%x ebx=0x%x ecx=0x%x edx=0x%x", &at[0], &at[1], &r.eax, &r.ebx, &r.ecx, &r.edx); err != nil {
			return nil, fmt.Errorf("line %d is not a CPUID leaf", number)
		}
		leaves[at] = r
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}

	const features, sgx = 7, 0x12
	p := &Processor{
		SGX: leaves[[2]uint32{features, 0}].ebx&(1<<2) != 0,
		FLC: leaves[[2]uint32{features, 0}].ecx&(1<<30) != 0,
	}
	if !p.SGX {
		return p, nil
	}
	p.SGX1 = leaves[[2]uint32{sgx, 0}].eax&(1<<0) != 0
	p.SGX2 = leaves[[2]uint32{sgx, 0}].eax&(1<<1) != 0
	for subleaf := uint32(2); ; subleaf++ {
		r := leaves[[2]uint32{sgx, subleaf}]
		switch r.eax & 0xf {
		case 0: // the end of the list
			return p, nil
		case 1: // an EPC section; no other type is defined yet
			p.EPC = append(p.EPC, Size(r.ecx&0xfffff000)|Size(r.edx&0x000fffff)<<32)
		}
	}
}
