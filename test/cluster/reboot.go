package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// reboot does to the cluster what a power failure does to a node, as far as one machine
// can: it kills every process, removes what is in memory on a node (the mounts of pods, the
// state of the container runtime, and what the directories in volatile contain), and
// starts everything again with the data that is on disk.
func reboot(ctx context.Context, l layout, p *progress, volatile []string) error {
	if there, err := stateIsOurs(l); err != nil {
		return err
	} else if !there {
		return errDown
	}
	var err error
	if l.Bin, err = builtBinDir(ctx); err != nil {
		return err
	}
	if err := killCgroup(ctx, l); err != nil {
		return err
	}
	for _, dir := range []string{kubeletDir, l.State} {
		if err := unmount(dir); err != nil {
			return err
		}
	}
	volatile = append([]string{l.path("containerd", "state"), l.path("runc"), l.ShimSockets()}, volatile...)
	for _, dir := range volatile {
		if err := emptyDir(dir); err != nil {
			return err
		}
	}
	// A component creates its own sockets again, the supervisor does not.
	if err := os.Remove(l.control()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the supervisor's socket: %w", err)
	}
	if err := mountKubeletDir(l); err != nil {
		return err
	}
	return launch(ctx, l, p)
}

// emptyDir removes what is in a directory, which need not exist.
func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("empty %s: %w", dir, err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("empty %s: %w", dir, err)
		}
	}
	return nil
}
