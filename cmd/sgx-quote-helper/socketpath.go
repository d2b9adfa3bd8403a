package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/confcom/confcom/internal/node"
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

// notWritable explains why this user may not create a socket in a directory, and what to
// do.
func notWritable(dir string) string {
	uid, gid := os.Geteuid(), os.Getegid()
	owner := "whose owner is unknown"
	if info, err := os.Stat(dir); err == nil {
		if access, known := node.AccessOf(info); known {
			owner = access.String()
		}
	}
	return fmt.Sprintf("user %d may not write to %s, %s: give it the directory with 'chown %d:%d %s' on the node, or run as its owner, with the chart's runAsUser", uid, dir, owner, uid, gid, dir)
}
