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

// path is where the machine's path is, which may be below a directory.
func (d *Doctor) path(path string) string { return filepath.Join(d.Machine.Sysroot, path) }

// processor tells whether the machine has SGX that is switched on, and EPC.
func (d *Doctor) processor(context.Context) Check {
	inv, err := d.Machine.Discover()
	verdict := inv.Verdict()
	switch {
	case err != nil:
		return problem(err.Error(), "let this program see the machine: in a container, mount its /sys and /dev")
	case inv.Simulated:
		return warning("the EPC is simulated", "no enclave can be made here, and simulated quotes prove nothing")
	case inv.EPC() == 0:
		return problem(verdict.Problem, verdict.Advice)
	case inv.Processor != nil && !inv.Processor.FLC:
		return problem(inv.Processor.String(), "enable Flexible Launch Control in the firmware's setup (BIOS): the DCAP quoting enclave needs it")
	case inv.Processor == nil:
		return ok(fmt.Sprintf("%d MiB of EPC", inv.EPC().MiB()))
	}
	return ok(fmt.Sprintf("%s; %d MiB of EPC", inv.Processor, inv.EPC().MiB()))
}

// driver tells whether there is one, and one that quoting enclaves can be made with.
func (d *Doctor) driver(context.Context) Check {
	inv, err := d.Machine.Discover()
	verdict := inv.Verdict()
	switch {
	case err != nil:
		return skipped(err.Error())
	case inv.Simulated:
		return skipped("the EPC is simulated")
	case inv.Driver == node.DriverLegacy:
		return problem("the driver is isgx, with which there are no DCAP quotes", "use Linux 5.11 or newer, or Intel's DCAP driver")
	case inv.Driver != "":
		return ok("of type " + string(inv.Driver))
	case inv.EPC() == 0:
		return skipped("there is no EPC for a driver to manage")
	}
	return problem(verdict.Problem, verdict.Advice)
}

// deviceNames are where the devices are, of Linux and of Intel's own driver.
func deviceNames() [][]string {
	return [][]string{{"/dev/sgx_enclave", "/dev/sgx/enclave"}, {"/dev/sgx_provision", "/dev/sgx/provision"}}
}

// device is the first one that is there.
func (d *Doctor) device(names []string) (string, fs.FileInfo) {
	for _, name := range names {
		if info, err := os.Stat(d.path(name)); err == nil {
			return name, info
		}
	}
	return "", nil
}

// devices tells whether this process may use the two devices.
func (d *Doctor) devices(context.Context) Check {
	var seen []string
	for _, names := range deviceNames() {
		name, info := d.device(names)
		switch {
		case info == nil:
			return problem(names[0]+" is not here", "on a node, load the driver; in a pod, ask for the device: the quote helper needs "+
				"the resources sgx.intel.com/enclave and sgx.intel.com/provision")
		case info.Mode()&fs.ModeCharDevice == 0:
			return problem(name+" is no device", "remove the file, and load the driver again")
		}
		text := name + " " + describe(info)
		// Only to open it shows what the container's list of devices allows.
		file, err := os.OpenFile(d.path(name), os.O_RDWR, 0)
		if err != nil {
			return problem(fmt.Sprintf("this process (user %d, groups %v) may not open %s: %v", os.Getuid(), groups(), text, err), deviceRemedy(err, gidOf(info)))
		}
		file.Close()
		seen = append(seen, text)
	}
	return ok(strings.Join(seen, ", "))
}

func deviceRemedy(err error, gid int) string {
	switch {
	case errors.Is(err, syscall.EPERM):
		return "the container has the file, but may not use the device: ask for it as a resource, and do not mount it from the host"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("run it in the group %d of the device: with the chart, dcap.groups={%[1]d}", gid)
	}
	return "the file has no driver behind it: look for 'sgx' in the kernel's log (dmesg)"
}

func gidOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Gid)
	}
	return -1
}

func describe(info fs.FileInfo) string {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("(%s, owner %d, group %d)", info.Mode().Perm(), stat.Uid, stat.Gid)
	}
	return info.Mode().String()
}

func groups() []int {
	all, _ := os.Getgroups()
	return slices.Compact(slices.Sorted(slices.Values(append(all, os.Getgid()))))
}

// group tells whether the provision device belongs to a group that its users can be
// in, and whether this process is.
func (d *Doctor) group(context.Context) Check {
	name, info := d.device(deviceNames()[1])
	if info == nil {
		return skipped("there is no provision device")
	}
	gid := gidOf(info)
	text := fmt.Sprintf("%s belongs to the group %d", name, gid)
	if known := d.groupName(gid); known != "" {
		text += " (" + known + ")"
	}
	const all, group = 0o006, 0o060
	switch mode := info.Mode().Perm(); {
	case mode&all == all:
		return ok(text + ", and all may use it")
	case gid == 0 || mode&group != group:
		return warning(fmt.Sprintf("%s, mode %s: only root may use it", text, mode),
			"give it to a group of its own: groupadd --system sgx_prv, and a rule of udev with GROUP=\"sgx_prv\", MODE=\"0660\"")
	case os.Getuid() != 0 && !slices.Contains(groups(), gid):
		return problem(fmt.Sprintf("%s, and this process is in %v", text, groups()), fmt.Sprintf("add the group: with the chart, dcap.groups={%d}", gid))
	}
	return ok(text)
}

// groupName is the name of a group of the machine, or empty.
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

// noexec tells whether enclaves can be mapped: their pages are those of the device's
// file, and cannot be executed where that is in a file system mounted noexec.
func (d *Doctor) noexec(context.Context) Check {
	file, err := os.Open(d.path("/proc/self/mountinfo"))
	if err != nil {
		return skipped(err.Error())
	}
	defer file.Close()
	at := []string{"/dev"}
	for _, names := range deviceNames() {
		at = append(at, names...) // a container may have them as mounts of their own
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
			return problem(point+" is mounted noexec, and enclaves cannot be mapped", "remount it: mount -o remount,exec "+point+"; CRI-O and systemd before 248 mount it so")
		default:
			seen = append(seen, point+" ("+o+")")
		}
	}
	if len(seen) == 0 {
		return skipped("/dev is no mount of its own")
	}
	return ok(strings.Join(seen, ", "))
}

// devicesMounted tells whether both devices in /dev are mounts of their own, so that
// the options of /dev do not matter.
func (d *Doctor) devicesMounted(point string, options map[string]string) bool {
	return point == "/dev" && !slices.ContainsFunc(deviceNames(), func(names []string) bool {
		name, _ := d.device(names)
		_, mounted := options[name]
		return !mounted
	})
}

// environment tells whether the library would ask another daemon.
func (d *Doctor) environment(context.Context) Check {
	value, set := os.LookupEnv("SGX_AESM_ADDR")
	if !set {
		return ok("SGX_AESM_ADDR is not set")
	}
	return warning(fmt.Sprintf("SGX_AESM_ADDR is set (%q): Intel's library asks the daemon for quotes", value),
		"that is right for an application; for what makes the quotes, unset it")
}

// missing tells whether a file is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
