package peer

import (
	"os"
	"path/filepath"
	"strings"
)

// Locator finds the pods of processes by their cgroups. Its methods may be called from
// several goroutines at once.
type Locator struct {
	layout layout
	names  *podNames
}

// NewLocator returns a Locator. procfs is where the proc file system is mounted. See Options
// for the other two.
func NewLocator(procfs, kubeletCgroup, podLogs string) *Locator {
	own, _ := os.ReadFile(filepath.Join(procfs, "self/cgroup")) // without it, nothing is learnt
	l := layoutOf(string(own))
	if kubeletCgroup != "" {
		l.roots = []string{strings.TrimSuffix(kubeletCgroup, "/")}
	}
	return &Locator{layout: l, names: newPodNames(podLogs)}
}

// Locate returns p with what cgroups, the text of its /proc/PID/cgroup, says of its place.
func (l *Locator) Locate(p Peer, cgroups string) Peer {
	if p.Pod, p.Container = l.layout.parse(cgroups); p.Pod == "" && p.Container == "" {
		p.Cgroup = upperLevels(cgroups)
	}
	return l.named(p).keyed()
}

// named returns p with the name of its pod.
func (l *Locator) named(p Peer) Peer {
	of := l.names.of(p.Pod)
	p.Namespace, p.Name = of.namespace, of.name
	return p
}
