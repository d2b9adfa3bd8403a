package node

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// numaNodes and epcFile make up the path of a file with the EPC of a NUMA node in
// bytes, which Linux has since 5.17. It contains 0 for a node without EPC, and does
// not exist if the in-kernel SGX driver is not active.
const (
	numaNodes = "/sys/devices/system/node"
	epcFile   = "x86/sgx_total_bytes"
)

// readSysfs records the EPC of each NUMA node. The kernel's numbers override those
// of CPUID, since the kernel allocates the memory; CPUID is used if the kernel has
// no numbers.
func (inv *Inventory) readSysfs(root string) error {
	sections, known, err := inv.kernelSections(root)
	if err != nil {
		return err
	}
	var reported Size // by CPUID
	if inv.Processor != nil {
		for _, size := range inv.Processor.EPC {
			reported += size
		}
	}
	if !known {
		inv.found("%s does not exist", filepath.Join(root, numaNodes, "node*", epcFile))
		if reported > 0 {
			inv.Sections = []Section{{NUMANode: UnknownNode, Size: reported}}
		}
		return nil
	}
	inv.Sections = sections
	if inv.Processor != nil && reported != inv.EPC() {
		inv.warn("the kernel manages %d bytes of EPC, but CPUID reports %d: using the kernel's number", inv.EPC(), reported)
	}
	return nil
}

// kernelSections returns the sections that the kernel manages, by NUMA node. known
// is false if the kernel does not report any sizes.
func (inv *Inventory) kernelSections(root string) (sections []Section, known bool, err error) {
	dir := filepath.Join(root, numaNodes)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, fmt.Errorf("list NUMA nodes: %w", err)
	}
	for _, entry := range entries {
		number, isNode := strings.CutPrefix(entry.Name(), "node")
		numa, err := strconv.Atoi(number)
		if !isNode || err != nil {
			continue
		}
		path := filepath.Join(dir, entry.Name(), epcFile)
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, false, fmt.Errorf("read EPC of NUMA node %d: %w", numa, err)
		}
		bytes, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 63)
		if err != nil {
			return nil, false, fmt.Errorf("read EPC of NUMA node %d: %s: not a number of bytes: %w", numa, path, err)
		}
		known = true
		inv.found("%s: %d bytes", path, bytes)
		if bytes > 0 {
			sections = append(sections, Section{NUMANode: numa, Size: Size(bytes)})
		}
	}
	slices.SortFunc(sections, func(a, b Section) int { return cmp.Compare(a.NUMANode, b.NUMANode) })
	return sections, known, nil
}
