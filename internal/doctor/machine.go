package doctor

import (
	"bufio"
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
	case inv.EPC() == 0:
		return problem(verdict.Problem, verdict.Advice)
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

// device returns the first of the paths that exists.
func (d *Doctor) device(names []string) (string, fs.FileInfo) {
	for _, name := range names {
		if info, err := os.Stat(d.path(name)); err == nil {
			return name, info
		}
	}
	return "", nil
}

// devices checks that this process may open both devices.
func (d *Doctor) devices(context.Context) Check {
	var seen []string
	for _, names := range deviceNames() {
		name, info := d.device(names)
		switch {
		case info == nil:
			return problem(names[0]+" does not exist", "on a node, load the driver; in a pod, request the device: the quote helper needs "+
				"the resource confcom.github.io/quote-helper, which gives it both")
		case info.Mode()&fs.ModeCharDevice == 0:
			return problem(name+" is not a device", "remove the file and reload the driver")
		}
		text := name + " " + describe(info)
		// Only opening it shows whether the container's device rules allow it.
		file, err := os.OpenFile(d.path(name), os.O_RDWR, 0)
		if err != nil {
			return problem(fmt.Sprintf("open %s as user %d in groups %v: %v", text, os.Getuid(), groups(), err), deviceRemedy(err, info))
		}
		file.Close()
		seen = append(seen, text)
	}
	return ok(strings.Join(seen, ", "))
}

func deviceRemedy(err error, info fs.FileInfo) string {
	switch {
	case errors.Is(err, syscall.EPERM):
		return "the container's device rules do not allow it: request the device as a resource instead of mounting it from the host"
	case errors.Is(err, fs.ErrPermission):
		_, group, _ := ownerOf(info)
		return fmt.Sprintf("add the process to the device's group %d: with the chart, set dcap.groups={%[1]d}", group)
	}
	return "check the driver behind the file: search the kernel log (dmesg) for 'sgx'"
}

func describe(info fs.FileInfo) string {
	user, group, ok := ownerOf(info)
	if !ok {
		return info.Mode().String()
	}
	return fmt.Sprintf("(%s, owner %d, group %d)", info.Mode().Perm(), user, group)
}

func groups() []int {
	all, _ := os.Getgroups()
	return slices.Compact(slices.Sorted(slices.Values(append(all, os.Getgid()))))
}

// group checks that the provision device belongs to a group of its own, and that this
// process is in that group.
func (d *Doctor) group(context.Context) Check {
	name, info := d.device(deviceNames()[1])
	if info == nil {
		return skipped("no provision device found")
	}
	_, gid, _ := ownerOf(info)
	text := fmt.Sprintf("%s belongs to group %d", name, gid)
	if known := d.groupName(gid); known != "" {
		text += " (" + known + ")"
	}
	const all, group = 0o006, 0o060
	switch mode := info.Mode().Perm(); {
	case mode&all == all:
		return ok(text + ", and every user may open it")
	case gid == 0 || mode&group != group:
		return warning(fmt.Sprintf("%s and has mode %s: only root may open it", text, mode),
			"give it a group of its own: groupadd --system sgx_prv, and a udev rule with GROUP=\"sgx_prv\", MODE=\"0660\"")
	case os.Getuid() != 0 && !slices.Contains(groups(), gid):
		return problem(fmt.Sprintf("%s, but this process is in groups %v", text, groups()), fmt.Sprintf("add the process to the group: with the chart, set dcap.groups={%d}", gid))
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
	file, err := os.Open(d.path("/proc/self/mountinfo"))
	if err != nil {
		return skipped(err.Error())
	}
	defer file.Close()
	at := []string{"/dev"}
	for _, names := range deviceNames() {
		at = append(at, names...) // in a container, each may be a mount
	}
	options := make(map[string]string)
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// number, parent, device, root, mount point, options: proc(5)
		fields := strings.Fields(lines.Text())
		if len(fields) > 5 && slices.Contains(at, fields[4]) {
			options[fields[4]] = fields[5]
		}
	}
	if err := lines.Err(); err != nil {
		return skipped(err.Error())
	}
	var seen []string
	for _, point := range at {
		switch o, mounted := options[point]; {
		case !mounted:
		case slices.Contains(strings.Split(o, ","), "noexec") && !d.devicesMounted(point, options):
			return problem(point+" is mounted noexec, so enclaves cannot be mapped", "remount it: mount -o remount,exec "+point+"; CRI-O and systemd before 248 mount it noexec")
		default:
			seen = append(seen, point+" ("+o+")")
		}
	}
	if len(seen) == 0 {
		return skipped("/dev is not a mount point")
	}
	return ok(strings.Join(seen, ", "))
}

// devicesMounted reports whether both devices in /dev are mount points, so that the
// options of /dev do not matter.
func (d *Doctor) devicesMounted(point string, options map[string]string) bool {
	return point == "/dev" && !slices.ContainsFunc(deviceNames(), func(names []string) bool {
		name, _ := d.device(names)
		_, mounted := options[name]
		return !mounted
	})
}

// environment checks that Intel's library makes quotes itself, instead of requesting them
// from a daemon.
func (d *Doctor) environment(context.Context) Check {
	value, set := os.LookupEnv("SGX_AESM_ADDR")
	if !set {
		return ok("SGX_AESM_ADDR is not set")
	}
	return warning(fmt.Sprintf("SGX_AESM_ADDR is set (%q): Intel's library requests quotes from the AESM daemon", value),
		"leave it set for an application; unset it for the quote helper")
}
