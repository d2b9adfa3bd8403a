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

// Processor is what the processor itself says of SGX, in the CPUID leaves 7 and
// 0x12 (Intel SDM volume 3D, section "Discovering Support for Intel SGX").
type Processor struct {
	// SGX tells that the processor has SGX, though it may be switched off.
	SGX bool `json:"sgx"`
	// SGX1 tells that enclaves can be made: the firmware has switched SGX on.
	SGX1 bool `json:"sgx1"`
	// SGX2 tells that enclaves can change their memory while they run (EDMM).
	SGX2 bool `json:"sgx2"`
	// FLC is Flexible Launch Control, without which the driver of Linux does
	// nothing and enclaves need Intel's launch enclave.
	FLC bool `json:"flc"`
	// EPC are the sizes of the EPC sections, which have no NUMA node here.
	EPC []Size `json:"epcBytes,omitempty"`
}

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

// cpuidDump is the name of a file in the root of a directory tree that tells
// what CPUID says on the machine that the tree looks like. It is what the
// program cpuid prints with the options -1 -r.
const cpuidDump = "cpuid"

// askProcessor asks the processor that the program runs on, or the dump in a
// tree that looks like another machine.
func (inv *Inventory) askProcessor(root string) error {
	if root == "/" {
		inv.Processor = thisProcessor()
	} else {
		path := filepath.Join(root, cpuidDump)
		dump, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			inv.found("%s is not there: what the processor can do is not known", path)
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the dump of CPUID: %w", err)
		}
		if inv.Processor, err = parseDump(dump); err != nil {
			return fmt.Errorf("%s: %w: it should be what 'cpuid -1 -r' prints", path, err)
		}
	}
	inv.found("CPUID says: %s", inv.Processor)
	for i, size := range inv.Processor.EPC {
		inv.found("CPUID leaf 0x12 says: EPC section %d has %d bytes", i, size)
	}
	return nil
}

// thisProcessor asks the processor that the program runs on.
func thisProcessor() *Processor {
	sgx := cpuid.CPU.SGX
	p := &Processor{SGX: sgx.Available, SGX1: sgx.SGX1Supported, SGX2: sgx.SGX2Supported, FLC: sgx.LaunchControl}
	for _, section := range sgx.EPCSections {
		p.EPC = append(p.EPC, Size(section.EPCSize))
	}
	return p
}

// registers are what one leaf of CPUID returns.
type registers struct{ eax, ebx, ecx, edx uint32 }

// parseDump reads what 'cpuid -1 -r' prints: a line for each leaf and subleaf,
// such as
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
			return nil, fmt.Errorf("line %d is not a leaf of CPUID", number)
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
		case 1: // an EPC section; other types are not defined yet
			p.EPC = append(p.EPC, Size(r.ecx&0xfffff000)|Size(r.edx&0x000fffff)<<32)
		}
	}
}
