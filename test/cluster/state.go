package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// marker is a file that identifies a state directory. Down removes no other directory.
const marker = "confcom-cluster"

// stateIsOurs reports whether the state directory exists. It returns an error if the
// directory is not a cluster's.
func stateIsOurs(l layout) (bool, error) {
	entries, err := os.ReadDir(l.State)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the state directory: %w", err)
	}
	if _, err := os.Stat(l.path(marker)); err != nil && len(entries) > 0 {
		return false, fmt.Errorf("%s is not empty and not the state directory of a cluster: choose another one with --state-dir", l.State)
	}
	return true, nil
}

// claimState creates the state directory.
func claimState(l layout) error {
	// The files inside grant access as the cluster's administrator.
	if err := os.MkdirAll(l.State, 0o700); err != nil {
		return fmt.Errorf("create the state directory: %w", err)
	}
	if err := writePrivate(l.path(marker), nil); err != nil {
		return err
	}
	for _, dir := range []string{l.Logs(), l.ShimSockets()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("create the state directory: %w", err)
		}
	}
	return nil
}

// removeState removes the state directory, its marker last, so that an interrupted
// removal can be resumed.
func removeState(l layout) error {
	entries, err := os.ReadDir(l.State)
	if err != nil {
		return fmt.Errorf("remove the state directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() == marker {
			continue
		}
		if err := os.RemoveAll(l.path(e.Name())); err != nil {
			return fmt.Errorf("remove the state directory: %w", err)
		}
	}
	return os.RemoveAll(l.State)
}
