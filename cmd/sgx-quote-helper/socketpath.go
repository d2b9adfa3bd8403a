package main

import (
	"os"
	"path/filepath"
)

// sameSocket reports whether two paths lead to the same socket, even by different
// names of its directory.
func sameSocket(a, b string) bool {
	a, b = linkTarget(a), linkTarget(b)
	if filepath.Base(a) != filepath.Base(b) {
		return false
	}
	dirA, errA := os.Stat(filepath.Dir(a))
	dirB, errB := os.Stat(filepath.Dir(b))
	if errA != nil || errB != nil {
		return filepath.Clean(a) == filepath.Clean(b)
	}
	return os.SameFile(dirA, dirB)
}

// linkTarget returns the target of a link, which need not exist, and any other path
// unchanged.
func linkTarget(path string) string {
	target, err := os.Readlink(path)
	switch {
	case err != nil:
		return path
	case filepath.IsAbs(target):
		return target
	}
	return filepath.Join(filepath.Dir(path), target)
}
