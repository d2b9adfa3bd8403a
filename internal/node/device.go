package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Driver is the kernel's driver for SGX. Each has device names of its own.
type Driver string

// The drivers that there are.
const (
	// DriverInKernel is part of Linux since 5.11.
	DriverInKernel Driver = "in-kernel"
	// DriverDCAP is Intel's module for processors with Flexible Launch Control,
	// as in Azure's images before they had the one of Linux.
	DriverDCAP Driver = "DCAP"
	// DriverLegacy is Intel's module isgx, for processors without it.
	DriverLegacy Driver = "isgx"
)

// Device is a character device of the driver.
type Device struct {
	// Path is where programs look for the device, such as /dev/sgx_enclave.
	Path string `json:"path"`
	// Node is the device itself, after all symbolic links: a container is given
	// this one, since container runtimes refuse links.
	Node string `json:"node"`
}

// The names of the devices with Intel's DCAP driver. Images with an SGX runtime
// from before Linux had a driver know no other.
const (
	DCAPEnclave   = "/dev/sgx/enclave"
	DCAPProvision = "/dev/sgx/provision"
)

// driverDevices are the names of a driver's devices.
type driverDevices struct {
	name               Driver
	enclave, provision string
}

// drivers lists the drivers, the one to prefer first: udev rules and
// administrators add the names of older drivers as links.
func drivers() []driverDevices {
	return []driverDevices{
		{DriverInKernel, "/dev/sgx_enclave", "/dev/sgx_provision"},
		{DriverDCAP, DCAPEnclave, DCAPProvision},
		{DriverLegacy, "/dev/isgx", ""},
	}
}

// findDevices looks for the devices of each driver.
func (inv *Inventory) findDevices(root string) error {
	for _, driver := range drivers() {
		enclave, err := inv.findDevice(root, driver.enclave)
		if err != nil {
			return err
		}
		if enclave == nil {
			continue
		}
		owner := ownerOf(root, driver)
		inv.Enclave, inv.Driver = enclave, owner.name
		if owner.name == DriverLegacy {
			inv.warn("Intel's driver isgx makes only enclaves that Intel's launch enclave permits, and quoting with DCAP needs Flexible Launch Control")
		}
		for _, path := range slices.Compact([]string{driver.provision, owner.provision}) {
			if path == "" || inv.Provision != nil {
				continue
			}
			if inv.Provision, err = inv.findDevice(root, path); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}

// ownerOf tells whose device it is that has the name of a driver's: another
// driver's, where the name is a link to that one's.
func ownerOf(root string, named driverDevices) driverDevices {
	target, err := os.Readlink(filepath.Join(root, named.enclave))
	if err != nil {
		return named // no link
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(named.enclave), target)
	}
	for _, other := range drivers() {
		if other.enclave == filepath.Clean(target) {
			return other
		}
	}
	return named
}

// findDevice looks for one device and keeps a record of it. What is not a
// character device, such as the directory that a container runtime makes for a
// missing file, does not count: no container would start with it.
func (inv *Inventory) findDevice(root, path string) (*Device, error) {
	device, err := look(root, path)
	shown := filepath.Join(root, path)
	notDevice, isOther := errors.AsType[*notDeviceError](err)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR): // with drivers older than all of these, /dev/sgx itself is a device
		inv.found("%s is not there", shown)
		return nil, nil
	case isOther:
		inv.found("%s", notDevice)
		inv.warn("%s: remove it, then load the driver again or restart the machine", notDevice)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look for the SGX device: %w", err)
	case device.Node != device.Path:
		inv.found("%s is a link to the character device %s", shown, device.Node)
	default:
		inv.found("%s is a character device", shown)
	}
	return device, nil
}

// notDeviceError says that something else has the name of a device.
type notDeviceError struct {
	path string
	mode fs.FileMode
}

func (e *notDeviceError) Error() string {
	if e.mode.IsDir() {
		return fmt.Sprintf("%s is a directory, not a character device", e.path)
	}
	return fmt.Sprintf("%s is not a character device (%s)", e.path, e.mode)
}

// look follows the path of a device, in the tree at root, to the device itself.
func look(root, path string) (*Device, error) {
	node, err := filepath.EvalSymlinks(filepath.Join(root, path))
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(node)
	if err != nil {
		return nil, err
	}
	if info.Mode()&os.ModeCharDevice == 0 {
		return nil, &notDeviceError{path: filepath.Join(root, path), mode: info.Mode()}
	}
	// The tree may itself be reached through links.
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, err
	}
	if inside, ok := strings.CutPrefix(node, strings.TrimSuffix(root, "/")+"/"); ok {
		node = "/" + inside
	}
	return &Device{Path: path, Node: node}, nil
}
