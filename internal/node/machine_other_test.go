//go:build !linux

package node

import (
	"errors"
	"testing"
)

func TestThisMachineIsNoSGXNode(t *testing.T) {
	for _, sysroot := range []string{"", "/"} {
		if _, err := (Machine{Sysroot: sysroot}).Discover(); !errors.Is(err, ErrNotLinux) {
			t.Errorf("sysroot %q: error %v, want %v", sysroot, err, ErrNotLinux)
		}
	}
}
