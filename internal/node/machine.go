package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"time"
)

// ErrNotLinux is returned by Discover for the machine that it runs on, unless that
// machine runs Linux.
var ErrNotLinux = errors.New("SGX nodes run Linux, and this machine runs " + runtime.GOOS)

// Machine is a machine whose SGX can be discovered.
type Machine struct {
	// Sysroot is the directory at which the machine's file system is mounted: "/" or
	// empty for the machine that the program runs on. For any other directory, CPUID
	// is read from the file CPUIDDump in it.
	Sysroot string
	// SimulatedEPC is how much EPC the machine pretends to have. Unless it is zero,
	// nothing is read from the machine.
	SimulatedEPC Size
	// SimulatedDevice is a device of the host, such as /dev/null, that containers get
	// in place of the SGX devices; empty for none. It needs SimulatedEPC. It cannot
	// create enclaves.
	SimulatedDevice string
}

// Discover returns the inventory of the machine. A machine without SGX is not an
// error: its inventory is empty. A file that exists but cannot be read or parsed is
// an error.
func (m Machine) Discover() (Inventory, error) {
	if m.SimulatedEPC > 0 {
		return m.simulate()
	}
	root, err := m.root()
	if err != nil {
		return Inventory{}, err
	}
	var inv Inventory
	if err := inv.readProcessor(root); err != nil {
		return Inventory{}, err
	}
	if err := inv.readSysfs(root); err != nil {
		return Inventory{}, err
	}
	if err := inv.findDevices(root); err != nil {
		return Inventory{}, err
	}
	return inv, nil
}

// root returns the absolute path of the directory to read.
func (m Machine) root() (string, error) {
	if m.SimulatedDevice != "" {
		return "", fmt.Errorf("simulated device %s: it needs simulated EPC", m.SimulatedDevice)
	}
	if m.Sysroot == "" || m.Sysroot == "/" {
		if runtime.GOOS != "linux" {
			return "", ErrNotLinux
		}
		return "/", nil
	}
	root, err := filepath.Abs(m.Sysroot)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(root); err != nil {
		return "", fmt.Errorf("sysroot %s: %w", m.Sysroot, err)
	} else if !info.IsDir() {
		return "", fmt.Errorf("sysroot %s: not a directory", m.Sysroot)
	}
	return root, nil
}

// simulate returns the inventory of a machine that pretends to have EPC.
func (m Machine) simulate() (Inventory, error) {
	inv := Inventory{
		Sections:  []Section{{NUMANode: 0, Size: m.SimulatedEPC}},
		Simulated: true,
		Findings:  []string{fmt.Sprintf("%s of EPC is simulated", m.SimulatedEPC)},
	}
	if m.SimulatedDevice == "" {
		return inv, nil
	}
	device, err := resolve("/", m.SimulatedDevice)
	if err != nil {
		return Inventory{}, fmt.Errorf("simulated device %s: %w", m.SimulatedDevice, err)
	}
	inKernel := drivers()[0]
	inv.Driver = inKernel.name
	inv.Enclave = &Device{Path: inKernel.enclave, Node: device.Node}
	inv.Provision = &Device{Path: inKernel.provision, Node: device.Node}
	inv.found("the SGX devices are simulated by %s, which cannot create enclaves", device.Node)
	return inv, nil
}

// Watch discovers the machine now and then at the given interval until ctx is done,
// since drivers are loaded and unloaded, and virtual machines are resized. It calls
// changed with the first result and with each one that differs from the one before.
// If changed returns false, because it could not handle the result, Watch calls it
// again after the next discovery.
func (m Machine) Watch(ctx context.Context, every time.Duration, changed func(Inventory, error) (done bool)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var known Inventory
	var failure error
	for done := false; ; {
		inv, err := m.Discover()
		if !done || !reflect.DeepEqual(inv, known) || fmt.Sprint(err) != fmt.Sprint(failure) {
			known, failure = inv, err
			done = changed(inv, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
