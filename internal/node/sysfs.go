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

// numaNodes and epcFile lead to the EPC of a NUMA node in bytes, which Linux
// tells since 5.17. The file is 0 for a node without EPC and is absent where the
// kernel's SGX driver is not at work.
const (
	numaNodes = "/sys/devices/system/node"
	epcFile   = "x86/sgx_total_bytes"
)

// readSysfs reads the EPC of each NUMA node from the kernel. Where the kernel
// tells nothing, what the processor says is taken; where both do, the kernel's
// word counts, as it is the kernel that hands the memory out.
func (inv *Inventory) readSysfs(root string) error {
	sections, seen, err := kernelSections(inv, root)
	if err != nil {
		return err
	}
	var told Size
	if inv.Processor != nil {
		for _, size := range inv.Processor.EPC {
			told += size
		}
	}
	if !seen {
		inv.found("%s is not there", filepath.Join(root, numaNodes, "node*", epcFile))
		if told > 0 {
			inv.Sections = []Section{{NUMANode: UnknownNode, Size: told}}
		}
		return nil
	}
	inv.Sections = sections
	if inv.Processor != nil && told != inv.EPC() {
		inv.warn("the kernel manages %d bytes of EPC, but CPUID tells of %d: the kernel's number is used", inv.EPC(), told)
	}
	return nil
}

// kernelSections are the sections that the kernel manages, by NUMA node, and
// whether it says anything about them.
func kernelSections(inv *Inventory, root string) (sections []Section, seen bool, err error) {
	dir := filepath.Join(root, numaNodes)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, fmt.Errorf("read the NUMA nodes: %w", err)
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
			return nil, false, fmt.Errorf("read the EPC of NUMA node %d: %w", numa, err)
		}
		bytes, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 63)
		if err != nil {
			return nil, false, fmt.Errorf("EPC of NUMA node %d: %s: not a number of bytes: %w", numa, path, err)
		}
		seen = true
		inv.found("%s says %d bytes", path, bytes)
		if bytes > 0 {
			sections = append(sections, Section{NUMANode: numa, Size: Size(bytes)})
		}
	}
	slices.SortFunc(sections, func(a, b Section) int { return cmp.Compare(a.NUMANode, b.NUMANode) })
	return sections, seen, nil
}
