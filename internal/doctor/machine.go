package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// path is where the machine's path is, which may be below a directory.
func (d *Doctor) path(path string) string { return filepath.Join(d.Machine.Sysroot, path) }

// processor tells whether the machine has SGX and a driver for it.
func (d *Doctor) processor(context.Context) Check {
	inv, err := d.Machine.Discover()
	if err != nil {
		return problem(err.Error(), "let this program see the machine: in a container, mount its /sys and /dev")
	}
	verdict := inv.Verdict()
	switch {
	case inv.Simulated:
		return warning("the EPC is simulated", "simulated quotes prove nothing")
	case !verdict.Ready:
		return problem(verdict.Problem, verdict.Advice)
	}
	return ok(fmt.Sprintf("%d MiB of EPC, and a driver", inv.EPC().MiB()))
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
		if err := unix.Access(d.path(name), unix.R_OK|unix.W_OK); err != nil {
			return problem(fmt.Sprintf("this process (user %d, groups %v) may not use %s: %v", os.Getuid(), groups(), text, err),
				fmt.Sprintf("run it in the group %d of the device: with the chart, dcap.groups={%[1]d}", gidOf(info)))
		}
		seen = append(seen, text)
	}
	return ok(strings.Join(seen, ", "))
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

// group tells whether the group is there that udev gives the provision device to.
func (d *Doctor) group(context.Context) Check {
	name, info := d.device(deviceNames()[1])
	if info == nil {
		return skipped("there is no provision device")
	}
	gid := gidOf(info)
	if os.Getuid() != 0 && !slices.Contains(groups(), gid) {
		return problem(fmt.Sprintf("%s belongs to the group %d, and this process is in %v", name, gid, groups()), fmt.Sprintf("add the group: with the chart, dcap.groups={%d}", gid))
	}
	if found, err := user.LookupGroupId(strconv.Itoa(gid)); err == nil {
		return ok(fmt.Sprintf("%s belongs to the group %s (%d)", name, found.Name, gid))
	}
	return ok(fmt.Sprintf("%s belongs to the group %d", name, gid))
}

// noexec tells whether enclaves can be mapped from /dev.
func (d *Doctor) noexec(context.Context) Check {
	file, err := os.Open(d.path("/proc/self/mountinfo"))
	if err != nil {
		return skipped(err.Error())
	}
	defer file.Close()
	options := ""
	for lines := bufio.NewScanner(file); lines.Scan(); {
		// number, parent, device, root, mount point, options: proc(5)
		fields := strings.Fields(lines.Text())
		if len(fields) > 5 && fields[4] == "/dev" {
			options = fields[5]
		}
	}
	switch {
	case options == "":
		return skipped("/dev is no mount of its own")
	case slices.Contains(strings.Split(options, ","), "noexec"):
		return problem("/dev is mounted noexec, and enclaves cannot be mapped", "remount it: mount -o remount,exec /dev; CRI-O and systemd before 248 mount it so")
	}
	return ok("/dev may be executed from: " + options)
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
