package node

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/internal/node/nodetest"
)

// The machine that runs the tests may have SGX or not; discovering it must be safe.
func TestThisMachine(t *testing.T) {
	inv, err := Machine{Sysroot: "/"}.Discover()
	if err != nil {
		t.Fatal(err)
	}
	t.Log(inv, inv.Verdict())
	if inv.Simulated || inv.Processor == nil {
		t.Errorf("%+v", inv)
	}
	unnamed, err := Machine{}.Discover()
	if diff := cmp.Diff(inv, unnamed); diff != "" || err != nil {
		t.Errorf("without a sysroot: %v %s", err, diff)
	}
}

// Containers get devices by their own paths, not by those of links.
func TestDeviceNodes(t *testing.T) {
	root := nodetest.Tree{
		"dev/sgx_enclave": "-> sgx/enclave",
		"dev/sgx/file":    "",
	}.Make(t)
	const null = 1<<8 | 3
	if err := syscall.Mknod(filepath.Join(root, "dev/sgx/enclave"), syscall.S_IFCHR|0o600, null); errors.Is(err, os.ErrPermission) {
		t.Skip("NOT RUN: creating a device needs privileges: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	nodetest.Put(t, link, "-> "+root)
	for _, sysroot := range []string{root, link} {
		inv, err := Machine{Sysroot: sysroot}.Discover()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&Device{Path: "/dev/sgx_enclave", Node: "/dev/sgx/enclave"}, inv.Enclave); diff != "" || inv.Driver != DriverDCAP {
			t.Errorf("%s: driver %s %s", sysroot, inv.Driver, diff)
		}
	}
}
