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

// Driver is a kernel driver for SGX. Each has its own device names.
type Driver string

// The known drivers.
const (
	// DriverInKernel is part of Linux since 5.11.
	DriverInKernel Driver = "in-kernel"
	// DriverDCAP is Intel's out-of-tree module for processors with Flexible Launch
	// Control, as in Azure's images before they had the in-kernel driver.
	DriverDCAP Driver = "DCAP"
	// DriverLegacy is Intel's out-of-tree module isgx, for processors without
	// Flexible Launch Control.
	DriverLegacy Driver = "isgx"
)

// Device is a character device of the driver.
type Device struct {
	// Path is the path that programs open, such as /dev/sgx_enclave.
	Path string `json:"path"`
	// Node is the path of the device itself, after all symbolic links. Containers
	// get this one, since container runtimes reject links.
	Node string `json:"node"`
}

// The device names of Intel's DCAP driver, the only names that images with an SGX
// runtime older than the in-kernel driver know.
const (
	DCAPEnclave   = "/dev/sgx/enclave"
	DCAPProvision = "/dev/sgx/provision"
)

// driverDevices are the device names of a driver.
type driverDevices struct {
	name               Driver
	enclave, provision string
}

// drivers returns the drivers in order of preference, the newest first: udev rules
// and administrators add the device names of older drivers as links.
func drivers() []driverDevices {
	return []driverDevices{
		{DriverInKernel, "/dev/sgx_enclave", "/dev/sgx_provision"},
		{DriverDCAP, DCAPEnclave, DCAPProvision},
		{DriverLegacy, "/dev/isgx", ""},
	}
}

// EnclaveDevices returns the paths of the devices that enclaves are made with, of all drivers.
func EnclaveDevices() []string {
	var paths []string
	for _, driver := range drivers() {
		paths = append(paths, driver.enclave)
	}
	return paths
}

// findDevices records the devices of the first driver that has any.
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
			inv.warn("Intel's driver isgx only runs enclaves that Intel's launch enclave permits, and DCAP quotes need Flexible Launch Control")
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

// ownerOf returns the driver whose device is found under the name of a driver:
// another driver, if the name is a link to that driver's device.
func ownerOf(root string, named driverDevices) driverDevices {
	target, err := os.Readlink(filepath.Join(root, named.enclave))
	if err != nil {
		return named // not a link
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

// findDevice returns the device at path, or nil if it does not exist, and records a
// finding. Anything but a character device, such as the directory that a container
// runtime creates for a missing file, is ignored with a warning: no container would
// start with it.
func (inv *Inventory) findDevice(root, path string) (*Device, error) {
	device, err := resolve(root, path)
	shown := filepath.Join(root, path)
	notDevice, isOther := errors.AsType[*notDeviceError](err)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR): // older drivers have a device /dev/sgx
		if target, err := os.Readlink(shown); err == nil {
			inv.found("%s is a link to %s, which does not exist", shown, target)
			inv.warn("%s is a link to %s, which does not exist: remove it, or load the driver of that device", shown, target)
			return nil, nil
		}
		inv.found("%s does not exist", shown)
		return nil, nil
	case isOther:
		inv.found("%s", notDevice)
		inv.warn("%s: remove it, then reload the driver or reboot the machine", notDevice)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("find SGX device: %w", err)
	case device.Node != device.Path:
		inv.found("%s is a link to the character device %s", shown, device.Node)
	default:
		inv.found("%s is a character device", shown)
	}
	return device, nil
}

// notDeviceError reports that the file at the path of a device is something else.
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

// resolve follows the path of a device in the tree at root to the device itself.
func resolve(root, path string) (*Device, error) {
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
	// The path of the tree itself may contain links.
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, err
	}
	if inside, ok := strings.CutPrefix(node, strings.TrimSuffix(root, "/")+"/"); ok {
		node = "/" + inside
	}
	return &Device{Path: path, Node: node}, nil
}
