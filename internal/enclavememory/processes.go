// Package enclavememory finds the processes of a node that map memory of enclaves, how much,
// and in which pods they are.
//
// Linux does not count EPC (Enclave Page Cache) per process, pod or node: the misc controller
// of cgroups has no such resource, and the sizes and page tables that /proc shows leave the
// mappings of enclaves out. What can be seen is their mapped memory, in /proc/PID/maps. Each
// page of it is in EPC, swapped out, or not used yet, so it is usually more than the EPC of the
// enclave. It can also be less: control structures of an enclave and pages of a mapping that was
// removed are in EPC as well. A process that shares an enclave with its parent counts again.
//
// The mappings of a process are shown to its own user, if it has no capability that the reader
// lacks, and to processes with CAP_SYS_PTRACE.
package enclavememory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/peer"
)

// Process is a process that maps enclave memory.
type Process struct {
	// Peer has its ID and its place. Its user is not known.
	peer.Peer
	// Command is its name, as ps shows it.
	Command string
	// Mapped is how much enclave memory it maps.
	Mapped node.Size
}

// Usage is the enclave memory that the processes of a node map.
type Usage struct {
	// Processes are those that map any, by descending size.
	Processes []Process
	// Unreadable is how many processes could not be examined, mostly because this process may not
	// read their mappings, and Why is the error of the first of them.
	Unreadable int
	Why        error
	// Partial is whether there may be processes of the node that are not visible here, such as
	// in a container without the PID namespace of the node.
	Partial bool
}

// Mapped returns the sum for all processes.
func (u Usage) Mapped() node.Size {
	var sum node.Size
	for _, p := range u.Processes {
		sum += p.Mapped
	}
	return sum
}

// Finder finds processes.
type Finder struct {
	// Procfs is where the proc file system is mounted.
	Procfs string
	// Locator finds their pods.
	Locator *peer.Locator
}

// Find examines all processes. What a process that ends meanwhile has mapped is left out.
func (f Finder) Find(ctx context.Context) (Usage, error) {
	entries, err := os.ReadDir(f.Procfs)
	if err != nil {
		return Usage{}, err
	}
	usage := Usage{Partial: !f.seesNode()}
	for _, entry := range entries {
		pid, err := strconv.ParseInt(entry.Name(), 10, 32)
		if err != nil {
			continue // not a process
		}
		if err := ctx.Err(); err != nil {
			return Usage{}, fmt.Errorf("examine the processes in %s: %w", f.Procfs, err)
		}
		p, err := f.process(int32(pid))
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH): // it has ended
		case errors.Is(err, errNotMapping): // Linux writes something else than is known
			return Usage{}, err
		case err != nil: // such as too long a path: no process can hide others
			usage.Unreadable++
			usage.Why = cmp.Or(usage.Why, err)
		case p.Mapped > 0:
			usage.Processes = append(usage.Processes, p)
		}
	}
	slices.SortFunc(usage.Processes, func(a, b Process) int {
		return cmp.Or(cmp.Compare(b.Mapped, a.Mapped), cmp.Compare(a.Process, b.Process))
	})
	return usage, nil
}

// process examines a process. One that maps no enclave memory has no place and no name.
func (f Finder) process(pid int32) (p Process, err error) {
	dir := filepath.Join(f.Procfs, strconv.Itoa(int(pid)))
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", dir, err)
		}
	}()
	// The directory stays that of this process, even if another one has its ID.
	files, err := os.OpenRoot(dir)
	if err != nil {
		return Process{}, err
	}
	defer files.Close()
	maps, err := files.Open("maps")
	if err != nil {
		return Process{}, err
	}
	defer maps.Close()
	size, err := mapped(maps)
	if err != nil || size == 0 {
		return Process{}, err
	}
	cgroups, err := files.ReadFile("cgroup")
	if err != nil {
		return Process{}, err
	}
	name, err := files.ReadFile("comm")
	if err != nil {
		return Process{}, err
	}
	return Process{
		Peer:    f.Locator.Locate(peer.Peer{Process: pid}, string(cgroups)),
		Command: string(bytes.TrimSuffix(name, []byte("\n"))),
		Mapped:  size,
	}, nil
}

// seesNode reports whether the proc file system shows the processes of the node: whether it has
// that of the kernel that is always the second one.
func (f Finder) seesNode() bool {
	name, err := os.ReadFile(filepath.Join(f.Procfs, "2/comm"))
	return err == nil && string(name) == "kthreadd\n"
}
