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

// All processes of the cluster are in one cgroup: the components and the shims that
// they start in its child "system", pods in the children that the kubelet adds. So down
// finds and kills them without names or pid files, even if the supervisor was killed.

// openCgroup returns a handle for a cgroup, which need not exist.
func openCgroup(name string) (cgroups.Manager, error) {
	m, err := manager.New(&cgroups.Cgroup{Path: name, Resources: &cgroups.Resources{}})
	if err != nil {
		return nil, fmt.Errorf("open cgroup %s: %w", name, err)
	}
	return m, nil
}

// joinCgroup creates the cluster's cgroups and moves a process into that of the
// components.
func joinCgroup(l layout, pid int) error {
	// The kubelet needs its root cgroup to exist, with every controller enabled. The pid
	// -1 stands for no process.
	for _, group := range []struct {
		name string
		pid  int
	}{{l.Cgroup(), -1}, {path.Join(l.Cgroup(), "system"), pid}} {
		m, err := openCgroup(group.name)
		if err != nil {
			return err
		}
		if err := m.Apply(group.pid); err != nil {
			return fmt.Errorf("create cgroup %s: %w", group.name, err)
		}
	}
	return nil
}

// killCgroup kills every process of the cluster and removes its cgroups.
func killCgroup(ctx context.Context, l layout) error {
	m, err := openCgroup(l.Cgroup())
	if err != nil {
		return err
	}
	err = poll(ctx, 10*time.Second, func(context.Context) error {
		pids, err := cgroupPIDs(m)
		if err != nil {
			return err // a cgroup vanished while it was read
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill process %d: %w", pid, err)
			}
		}
		if len(pids) > 0 {
			return fmt.Errorf("%d processes have not ended yet", len(pids))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("kill the processes in cgroup %s: %w", l.Cgroup(), err)
	}
	if err := m.Destroy(); err != nil {
		return fmt.Errorf("remove cgroup %s: %w", l.Cgroup(), err)
	}
	return nil
}

// cgroupPIDs lists the processes in a cgroup and its descendants. With cgroups v1, no
// single hierarchy is certain to have all of them.
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
