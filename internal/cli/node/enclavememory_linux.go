package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/enclavememory"
	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/peer"
)

// enclaveMemory is the enclave memory that the processes of the machine map.
type enclaveMemory struct {
	Mapped node.Size `json:"mappedBytes"`
	// Incomplete is why there may be more; empty if all processes were examined.
	Incomplete string           `json:"incomplete,omitempty"`
	Processes  []enclaveProcess `json:"processes"`
}

// enclaveProcess is a process that maps enclave memory.
type enclaveProcess struct {
	Process int32     `json:"pid"`
	Command string    `json:"command"`
	Mapped  node.Size `json:"mappedBytes"`
	Pod     string    `json:"podUID,omitempty"`
	// Namespace and Name are those of the pod.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	Container string `json:"container,omitempty"`
	Cgroup    string `json:"cgroup,omitempty"` // outside pods and containers
}

// findEnclaveMemory examines the processes of a machine.
func findEnclaveMemory(ctx context.Context, sysroot string) *enclaveMemory {
	procfs := filepath.Join(sysroot, "proc")
	finder := enclavememory.Finder{Procfs: procfs, Locator: peer.NewLocator(procfs, "", filepath.Join(sysroot, "var/log/pods"))}
	m := &enclaveMemory{Processes: []enclaveProcess{}}
	usage, err := finder.Find(ctx)
	switch {
	case err != nil:
		m.Incomplete = err.Error()
		return m
	case usage.Unreadable > 0:
		m.Incomplete = count(usage.Unreadable, "process", "processes") + " cannot be examined: "
		switch {
		case !errors.Is(usage.Why, fs.ErrPermission):
			m.Incomplete += usage.Why.Error()
		case os.Geteuid() == 0:
			m.Incomplete += "it takes CAP_SYS_PTRACE, and that SELinux or AppArmor allows it"
		default:
			m.Incomplete += "run this as root"
		}
	case usage.Partial:
		m.Incomplete = "only the processes of this container or PID namespace are visible: run this on the node itself"
	}
	m.Mapped = usage.Mapped()
	for _, p := range usage.Processes {
		m.Processes = append(m.Processes, enclaveProcess{p.Process, p.Command, p.Mapped, p.Pod, p.Namespace, p.Name, p.Container, p.Cgroup})
	}
	return m
}

// show shows the sum, and below it each pod or other place with its processes.
func (m *enclaveMemory) show(p *output.Page) {
	switch {
	case m.Incomplete != "" && len(m.Processes) == 0:
		p.Text("enclave memory", "unknown: "+m.Incomplete)
		return
	case len(m.Processes) == 0:
		p.Row("enclave memory", "no process maps any")
		return
	}
	p.Row("enclave memory", "%s mapped", epcSize(m.Mapped))
	if m.Incomplete != "" {
		p.Text("  incomplete", m.Incomplete)
	}
	sums := make(map[string]node.Size)
	names := make(map[string][]string) // of processes
	var places []string                // that with the largest process first
	for _, process := range m.Processes {
		place := process.place()
		if _, known := sums[place]; !known {
			places = append(places, place)
		}
		sums[place] += process.Mapped
		names[place] = append(names[place], fmt.Sprintf("%q (%d)", process.Command, process.Process))
	}
	for _, place := range places {
		p.Text("  mapped", fmt.Sprintf("%s by %s: %s", epcSize(sums[place]), place, strings.Join(names[place], ", ")))
	}
}

// place returns the pod of a process, or what else there is.
func (p enclaveProcess) place() string {
	const shortID = 12 // as crictl and docker show containers
	switch {
	case p.Name != "":
		return "pod " + p.Namespace + "/" + p.Name
	case p.Pod != "":
		return "pod " + p.Pod
	case p.Container != "":
		return "container " + p.Container[:shortID]
	}
	return p.Cgroup
}

// count returns a number with a noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
