package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/cpuid/v2"
)

const (
	// enclaveDevice is the device of the driver that is part of Linux since 5.11.
	enclaveDevice = "/dev/sgx_enclave"

	// numaNodes and epcFile lead to the EPC of a NUMA node in bytes, which Linux
	// tells since 5.17. The file is 0 for a node without EPC and is absent on a
	// machine without SGX.
	numaNodes = "/sys/devices/system/node"
	epcFile   = "x86/sgx_total_bytes"
)

// Discover looks at the machine whose file system is mounted at sysroot, which
// is "/" for the machine it runs on. A machine without SGX is no error: its
// inventory is empty. Files that are there but cannot be understood are one.
func Discover(sysroot string) (Inventory, error) {
	var inv Inventory
	if err := inv.readSysfs(sysroot); err != nil {
		return Inventory{}, err
	}
	if inv.EPC() == 0 && filepath.Clean(sysroot) == "/" {
		inv.readCPUID()
	}
	if err := inv.findDevice(sysroot); err != nil {
		return Inventory{}, err
	}
	return inv, nil
}

// found adds a sentence to the findings.
func (inv *Inventory) found(format string, args ...any) {
	inv.Findings = append(inv.Findings, fmt.Sprintf(format, args...))
}

// readSysfs reads the EPC of each NUMA node from the kernel.
func (inv *Inventory) readSysfs(sysroot string) error {
	root := filepath.Join(sysroot, numaNodes)
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the NUMA nodes: %w", err)
	}
	seen := false
	for _, entry := range entries {
		number, isNode := strings.CutPrefix(entry.Name(), "node")
		numa, err := strconv.Atoi(number)
		if !isNode || err != nil {
			continue
		}
		path := filepath.Join(root, entry.Name(), epcFile)
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the EPC of NUMA node %d: %w", numa, err)
		}
		bytes, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 63)
		if err != nil {
			return fmt.Errorf("EPC of NUMA node %d: %s: not a number of bytes: %w", numa, path, err)
		}
		seen = true
		inv.found("%s says %d bytes", path, bytes)
		inv.add(Section{NUMANode: numa, Size: Size(bytes)})
	}
	if !seen {
		inv.found("%s is not there", filepath.Join(root, "node*", epcFile))
	}
	return nil
}

// readCPUID asks the processor for its EPC: leaf 0x12, subleaves 2 and above.
// It does not tell the NUMA node.
func (inv *Inventory) readCPUID() {
	for _, section := range cpuid.CPU.SGX.EPCSections {
		inv.add(Section{NUMANode: UnknownNode, Size: Size(section.EPCSize)})
	}
	inv.found("CPUID leaf 0x12 says %d bytes", inv.EPC())
}

// add keeps a section unless it is empty.
func (inv *Inventory) add(section Section) {
	if section.Size > 0 {
		inv.Sections = append(inv.Sections, section)
	}
}

// findDevice looks for the device. Anything else at its path, such as the
// directory that a container runtime makes for a missing file, does not count:
// no container would start with it.
func (inv *Inventory) findDevice(sysroot string) error {
	path := filepath.Join(sysroot, enclaveDevice)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		inv.found("%s is not there", path)
	case err != nil:
		return fmt.Errorf("look for the SGX device: %w", err)
	case info.Mode()&os.ModeCharDevice == 0:
		inv.found("%s is not a character device (%s)", path, info.Mode())
	default:
		inv.found("%s is a character device", path)
		inv.Device = enclaveDevice
	}
	return nil
}
