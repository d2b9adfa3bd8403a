package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"syscall"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
)

// Whatever the cluster starts lives below one cgroup: its servers and the
// shims they start in the group "system", pods in the groups the kubelet adds.
// So what is the cluster's can be told, and ended, without names or pid files,
// even after its supervisor was killed.

// openCgroup returns a handle of a cgroup, which need not exist.
func openCgroup(name string) (cgroups.Manager, error) {
	m, err := manager.New(&cgroups.Cgroup{Path: name, Resources: &cgroups.Resources{}})
	if err != nil {
		return nil, fmt.Errorf("cgroup %s: %w", name, err)
	}
	return m, nil
}

// joinCgroup makes the cluster's cgroups and puts a process into the one of
// the servers.
func joinCgroup(l layout, pid int) error {
	// The kubelet wants to find its root group, with every controller on. The
	// pid -1 stands for none.
	for _, group := range []struct {
		name string
		pid  int
	}{{l.Cgroup(), -1}, {path.Join(l.Cgroup(), "system"), pid}} {
		m, err := openCgroup(group.name)
		if err != nil {
			return err
		}
		if err := m.Apply(group.pid); err != nil {
			return fmt.Errorf("cgroup %s: %w", group.name, err)
		}
	}
	return nil
}

// killCgroup ends every process of the cluster and removes its cgroups.
func killCgroup(ctx context.Context, l layout) error {
	m, err := openCgroup(l.Cgroup())
	if err != nil {
		return err
	}
	err = poll(ctx, 10*time.Second, func(context.Context) error {
		pids, err := cgroupPIDs(m)
		if err != nil {
			return err // a group vanished while it was read
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("end process %d: %w", pid, err)
			}
		}
		if len(pids) > 0 {
			return fmt.Errorf("%d processes are ending", len(pids))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("end what is left in cgroup %s: %w", l.Cgroup(), err)
	}
	if err := m.Destroy(); err != nil {
		return fmt.Errorf("remove cgroup %s: %w", l.Cgroup(), err)
	}
	return nil
}

// cgroupPIDs lists the processes in a cgroup and below it. Of the hierarchies
// that version 1 has, none is sure to know them all.
func cgroupPIDs(m cgroups.Manager) ([]int, error) {
	var pids []int
	for _, dir := range m.GetPaths() {
		if !cgroups.PathExists(dir) {
			continue
		}
		found, err := cgroups.GetAllPids(dir)
		if err != nil {
			return nil, err
		}
		pids = append(pids, found...)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}
