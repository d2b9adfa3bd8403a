package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/confcom/confcom/internal/node"
)

// path returns where a path of the examined machine is, which may be a directory tree.
func (d *Doctor) path(path string) string { return filepath.Join(d.Machine.Sysroot, path) }

// processor checks that the processor has SGX, that it is enabled, and that there is EPC
// (Enclave Page Cache).
func (d *Doctor) processor(context.Context) Check {
	inv, err := d.Machine.Discover()
	verdict := inv.Verdict()
	switch {
	case err != nil:
		return problem(err.Error(), "give this program access to the machine: in a container, mount the host's /sys and /dev")
	case inv.Simulated:
		return warning("the EPC is simulated", "no enclave can be created here, and simulated quotes prove nothing: use a machine with SGX")
	case inv.EPC() == 0 && d.Place == Application:
		return problem("this node has no EPC: "+verdict.Problem, "a pod with an EPC limit runs only on nodes with EPC (see the check limit)")
	case inv.EPC() == 0:
		return problem(verdict.Problem, verdict.Advice)
	case inv.Processor != nil && !inv.Processor.FLC && d.Place == Application:
		return problem("this node's processor: "+inv.Processor.String(), "ask the operator of the node: DCAP's quoting enclave needs Flexible Launch Control")
	case inv.Processor != nil && !inv.Processor.FLC:
		return problem(inv.Processor.String(), "enable Flexible Launch Control in the firmware setup (BIOS): DCAP's quoting enclave needs it")
	case inv.Processor == nil:
		return ok(fmt.Sprintf("%d MiB of EPC", inv.EPC().MiB()))
	}
	return ok(fmt.Sprintf("%s; %d MiB of EPC", inv.Processor, inv.EPC().MiB()))
}

// driver checks that an SGX driver is loaded, and that it supports the quoting enclaves.
func (d *Doctor) driver(context.Context) Check {
	inv, err := d.Machine.Discover()
	verdict := inv.Verdict()
	switch {
	case err != nil:
		return skipped(err.Error())
	case inv.Simulated:
		return skipped("the EPC is simulated")
	case inv.Driver == node.DriverLegacy:
		return problem("the driver is isgx, which does not support DCAP quotes", "use Linux 5.11 or newer, or Intel's DCAP driver")
	case inv.Driver != "":
		return ok("driver type: " + string(inv.Driver))
	case inv.EPC() == 0:
		return skipped("no EPC found, so no driver is needed")
	}
	return problem(verdict.Problem, verdict.Advice)
}

// deviceNames returns the paths of the enclave and the provision device, each with the
// in-kernel driver and with Intel's own driver.
func deviceNames() [][]string {
	return [][]string{{"/dev/sgx_enclave", "/dev/sgx/enclave"}, {"/dev/sgx_provision", "/dev/sgx/provision"}}
}

// device returns the first of the paths at which there is a file, and the file, which is
// nil if the path is a link that leads nowhere, or this user may not look there.
func (d *Doctor) device(names []string) (string, fs.FileInfo) {
	for _, name := range names {
		if info, err := os.Stat(d.path(name)); err == nil {
			return name, info
		}
	}
	for _, name := range names {
		if _, err := os.Lstat(d.path(name)); err == nil || errors.Is(err, fs.ErrPermission) {
			return name, nil
		}
	}
	return "", nil
}

// hasDevice reports whether there is a device at one of the paths.
func (d *Doctor) hasDevice(names []string) bool {
	_, info := d.device(names)
	return info != nil && info.Mode()&fs.ModeCharDevice != 0
}

// devices checks that this process may open both devices or, in an application's pod,
// those that it has. On a machine it also checks that pods may.
func (d *Doctor) devices(context.Context) Check {
	if d.Machine.SimulatedEPC > 0 {
		return skipped("the EPC is simulated")
	}
	names := deviceNames()
	if d.Place == Application && !d.hasProvision() {
		names = names[:1] // the quote helper has the other one
	}
	result := ok("")
	var seen []string
	for i, paths := range names {
		name, info := d.device(paths)
		switch {
		case name == "":
			return problem(paths[0]+" does not exist", d.missingDevice())
		case info == nil:
			return problem(d.unseen(name))
		case info.IsDir() && d.Place == Application:
			return problem(name+" is a directory, not a device", "remove the volume that is mounted there from the pod's manifest: the device comes with an EPC limit (see the check limit)")
		case info.IsDir():
			return problem(name+" is a directory, not a device", "remove it: container runtimes create a directory where they are to mount a file that does not exist; then load the driver, and request the device as a resource instead of mounting it")
		case info.Mode()&fs.ModeCharDevice == 0:
			return problem(name+" is not a device", "remove the file and reload the driver")
		}
		text := name
		access, known := node.AccessOf(info)
		if known {
			text += fmt.Sprintf(" (%s)", access)
		}
		// Only opening it shows whether the container's device rules allow it.
		file, err := os.OpenFile(d.path(name), os.O_RDWR, 0)
		if err != nil {
			why := fmt.Sprintf("open %s as user %d in groups %v: %v", text, os.Getuid(), groups(), unwrapped(err))
			if isProvision := i == 1; isProvision && d.Place == Application {
				remedy := "only applications that make quotes themselves need this device: use the node's quote helper instead (SGX_AESM_ADDR=1 for Intel's quoting library), which needs no such privilege"
				if d.makesQuotes() {
					remedy += "; if this one does, " + d.deviceRemedy(err, access)
				}
				return warning(strings.Join(append(seen, why), ", "), remedy)
			}
			return problem(why, d.deviceRemedy(err, access))
		}
		file.Close()
		seen = append(seen, text)
		if isEnclave := i == 0; isEnclave && d.Place != Application && d.Place != Helper && known {
			if trouble, advice := access.ForPods(); trouble != "" {
				seen[len(seen)-1] += ": " + trouble
				result = warning("", advice)
			}
		}
	}
	result.Seen = strings.Join(seen, ", ")
	if d.Place == Application && len(names) == 1 {
		result.Seen += "; the provision device is not needed, as the node's quote helper makes the quotes"
	}
	return result
}

// missingDevice returns what to do if there is no device.
func (d *Doctor) missingDevice() string {
	switch d.Place {
	case Application:
		return "add an EPC limit to the container's resources, which comes with the device (see the check limit)"
	case Helper:
		return "let the pod request confcom.github.io/quote-helper, which gives it both devices: the chart does so with platform=dcap; if it does, run confcom node on the machine"
	}
	return "load the driver; a pod gets the device with an EPC limit, and the quote helper with the resource confcom.github.io/quote-helper"
}

// deviceRemedy returns what to do if this process may not open a device.
func (d *Doctor) deviceRemedy(err error, access node.Access) string {
	switch {
	case errors.Is(err, syscall.EPERM):
		return "the container's device rules do not allow it: request the device as a resource instead of mounting it from the host"
	case errors.Is(err, fs.ErrPermission) && access.Allows(os.Getuid(), groups()):
		return "owner and mode permit it, so something else forbids it: search the node's kernel log (dmesg) and audit log for denials of SELinux or AppArmor"
	case errors.Is(err, fs.ErrPermission) && d.Place == Helper && access.ByGroup():
		return fmt.Sprintf("add the helper to the device's group: with the chart, set dcap.groups={%d}", access.Group)
	case errors.Is(err, fs.ErrPermission) && d.Place == Helper:
		return "run the helper as root (runAsUser=0 in the chart), or set " + node.ContainerOwnership + ", or let a udev rule give the device a group and mode 0660; no group helps while the mode is like this"
	case errors.Is(err, fs.ErrPermission) && d.Place == Application && access.ByGroup():
		return fmt.Sprintf("add %d to supplementalGroups in this pod's securityContext, or on the node set %s", access.Group, node.ContainerOwnership)
	case errors.Is(err, fs.ErrPermission) && d.Place == Application:
		_, advice := access.ForPods()
		return "on the node: " + advice
	case errors.Is(err, fs.ErrPermission):
		_, advice := access.ForPods()
		return "run this as root; for pods: " + advice
	}
	return "check the driver behind the file: search the kernel log (dmesg) for 'sgx'"
}

// unwrapped returns the cause of an error about a path that is named already.
func unwrapped(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// unseen returns why device finds no file at a path at which there is something, and what
// to do.
func (d *Doctor) unseen(name string) (seen, remedy string) {
	if _, err := os.Lstat(d.path(name)); err != nil {
		return fmt.Sprintf("%v, as user %d in groups %v", err, os.Getuid(), groups()), "run this as root, or as a user that may read the directory"
	}
	return dangling(d.path(name)), "remove the link; if a driver is loaded, check the udev rules that have made it"
}

// dangling describes a link that leads nowhere.
func dangling(path string) string {
	target, err := os.Readlink(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s is a link to %s, which does not exist", path, target)
}

func groups() []int {
	all, _ := os.Getgroups()
	return slices.Compact(slices.Sorted(slices.Values(append(all, os.Getgid()))))
}

// group checks that the provision device belongs to a group of its own, and that this
// process is in that group.
func (d *Doctor) group(context.Context) Check {
	name, info := d.device(deviceNames()[1])
	if info == nil || info.IsDir() {
		return skipped("no provision device found")
	}
	access, known := node.AccessOf(info)
	if !known {
		return skipped("its owner is unknown")
	}
	text := fmt.Sprintf("%s belongs to group %d", name, access.Group)
	if known := d.groupName(access.Group); known != "" {
		text += " (" + known + ")"
	}
	switch {
	case access.EveryUser():
		return ok(text + ", and every user may open it")
	case !access.ByGroup():
		return warning(fmt.Sprintf("%s and has mode %#o: only root may open it", text, uint32(access.Mode)),
			"run the quote helper as root, or give the device a group of its own: groupadd --system sgx_prv, and a udev rule with GROUP=\"sgx_prv\", MODE=\"0660\"")
	case os.Getuid() != 0 && !slices.Contains(groups(), access.Group):
		return problem(fmt.Sprintf("%s, but this process is in groups %v", text, groups()), fmt.Sprintf("add the process to the group: with the chart, set dcap.groups={%d}", access.Group))
	}
	return ok(text)
}

// groupName returns the name of a group of the machine, empty if it has none.
func (d *Doctor) groupName(gid int) string {
	text, err := os.ReadFile(d.path("/etc/group"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		// name, password, number, members: group(5)
		if fields := strings.Split(line, ":"); len(fields) > 2 && fields[2] == strconv.Itoa(gid) {
			return fields[0]
		}
	}
	return ""
}

// noexec checks that the devices are not on a file system mounted noexec. An enclave's
// pages are a mapping of the device file, and could not be executed there.
func (d *Doctor) noexec(context.Context) Check {
	at := []string{"/dev"}
	for _, names := range deviceNames() {
		at = append(at, names...) // in a container, each may be a mount
	}
	found := mounts(d.path("/proc/self/mountinfo"))
	var seen []string
	for _, point := range at {
		switch m, mounted := found[point]; {
		case !mounted:
		case slices.Contains(strings.Split(m.options, ","), "noexec") && !d.devicesMounted(point, found):
			return problem(point+" is mounted noexec, so enclaves cannot be mapped", "remount it: mount -o remount,exec "+point+"; CRI-O and systemd before 248 mount it noexec")
		default:
			seen = append(seen, point+" ("+m.options+")")
		}
	}
	if len(seen) == 0 {
		return skipped("/dev is not a mount point")
	}
	return ok(strings.Join(seen, ", "))
}

// devicesMounted reports whether both devices in /dev are mount points, so that the
// options of /dev do not matter.
func (d *Doctor) devicesMounted(point string, found map[string]mount) bool {
	return point == "/dev" && !slices.ContainsFunc(deviceNames(), func(names []string) bool {
		name, _ := d.device(names)
		_, mounted := found[name]
		return !mounted
	})
}

// environment checks who makes the quotes of programs with Intel's library: the library
// itself, as in the quote helper, or the daemon, as for applications.
func (d *Doctor) environment(context.Context) Check {
	value, set := d.variable("SGX_AESM_ADDR")
	isSet := fmt.Sprintf("SGX_AESM_ADDR is set (%q): Intel's library requests quotes from the AESM daemon", value)
	const notSet = "SGX_AESM_ADDR is not set"
	switch {
	case d.Place == Application && set:
		return ok(isSet)
	case d.Place == Application:
		if _, installed := d.find(d.Library); installed && !d.hasProvision() {
			return warning(notSet+": Intel's quoting library makes quotes itself then, which needs devices that this container lacks", "set SGX_AESM_ADDR=1 in the container's environment")
		}
		return ok(notSet + "; applications that use Intel's quoting library need SGX_AESM_ADDR=1, others do not")
	case set && d.Place == Helper:
		return problem(isSet, "unset it in the environment of the quote helper, which is to make the quotes itself")
	case set:
		return warning(isSet, "leave it set for an application; unset it for the quote helper")
	}
	return ok(notSet)
}
