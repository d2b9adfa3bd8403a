package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// marker is the file that tells the cluster's state directory from any other,
// which down must not remove.
const marker = "confcom-cluster"

// stateIsOurs tells whether the state directory is there. It fails when the
// directory is someone else's.
func stateIsOurs(l layout) (bool, error) {
	entries, err := os.ReadDir(l.State)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("state directory: %w", err)
	}
	if _, err := os.Stat(l.path(marker)); err != nil && len(entries) > 0 {
		return false, fmt.Errorf("%s is not the state directory of a cluster; it is left alone", l.State)
	}
	return true, nil
}

// claimState makes the state directory.
func claimState(l layout) error {
	// Whoever could look inside could be the cluster's administrator.
	if err := os.MkdirAll(l.State, 0o700); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	if err := writePrivate(l.path(marker), nil); err != nil {
		return err
	}
	for _, dir := range []string{l.Logs(), l.ShimSockets()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("make the state directory: %w", err)
		}
	}
	return nil
}

// removeState removes the state directory, its marker last, so that an
// interrupted removal can be taken up again.
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
