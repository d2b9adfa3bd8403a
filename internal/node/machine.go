package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/spf13/pflag"
)

// Machine is where to look for SGX.
type Machine struct {
	// Sysroot is the directory in which the machine's file system is mounted:
	// "/", or empty, for the machine that the program runs on.
	Sysroot string
	// SimulatedEPC, unless zero, is how much EPC the machine pretends to have;
	// nothing is looked at then.
	SimulatedEPC Size
	// SimulatedDevice, with SimulatedEPC, is the host's device that containers
	// get in the place of those of an SGX driver, such as /dev/null; empty for
	// none. No enclave can be made through it.
	SimulatedDevice string
}

// AddFlags declares the flags that say where to look.
func (m *Machine) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&m.Sysroot, "sysroot", "/", "the `directory` that the machine's /sys and /dev are looked for in; what its processor says is read from the file "+cpuidDump+" in it, unless it is /")
	flags.Var(&m.SimulatedEPC, "simulate-epc", "pretend to have this much EPC, such as 64Mi, instead of looking for SGX; pods are scheduled but can make no enclave")
	flags.StringVar(&m.SimulatedDevice, "simulate-device", "", "with --simulate-epc, give containers this `device` of the host in the place of the SGX devices, such as /dev/null")
}

// Discover looks at the machine. A machine without SGX is no error: its
// inventory is empty. Files that are there but cannot be read or understood are
// one.
func (m Machine) Discover() (Inventory, error) {
	if m.SimulatedEPC > 0 {
		return m.simulate()
	}
	root, err := m.root()
	if err != nil {
		return Inventory{}, err
	}
	var inv Inventory
	if err := inv.askProcessor(root); err != nil {
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

// root is the absolute path of the directory to look in.
func (m Machine) root() (string, error) {
	if m.SimulatedDevice != "" {
		return "", fmt.Errorf("--simulate-device=%s: it stands in for SGX devices only with --simulate-epc", m.SimulatedDevice)
	}
	if m.Sysroot == "" {
		return "/", nil
	}
	root, err := filepath.Abs(m.Sysroot)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(root); err != nil {
		return "", fmt.Errorf("--sysroot=%s: %w", m.Sysroot, err)
	} else if !info.IsDir() {
		return "", fmt.Errorf("--sysroot=%s: not a directory", m.Sysroot)
	}
	return root, nil
}

// simulate makes the inventory of a machine that pretends to have EPC.
func (m Machine) simulate() (Inventory, error) {
	inv := Inventory{
		Sections:  []Section{{NUMANode: 0, Size: m.SimulatedEPC}},
		Simulated: true,
		Findings:  []string{fmt.Sprintf("%s of EPC are simulated", m.SimulatedEPC)},
	}
	if m.SimulatedDevice == "" {
		return inv, nil
	}
	stand, err := look("/", m.SimulatedDevice)
	if err != nil {
		return Inventory{}, fmt.Errorf("--simulate-device=%s: %w", m.SimulatedDevice, err)
	}
	inKernel := drivers()[0]
	inv.Driver = inKernel.name
	inv.Enclave = &Device{Path: inKernel.enclave, Node: stand.Node}
	inv.Provision = &Device{Path: inKernel.provision, Node: stand.Node}
	inv.found("the SGX devices are simulated by %s, which makes no enclave", stand.Node)
	return inv, nil
}

// Watch looks at the machine now and then at the given interval, until ctx is
// done: drivers are loaded and unloaded, and machines resized. It calls changed
// at first, again whenever what it finds, or the error, is not what it was, and
// after the next look when it returned false, as what it had to do with it failed.
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
