package doctor

import (
	"cmp"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// defaultAddress is where a daemon serves whose process is not visible: in an ephemeral
// container, or for another user. It is what the chart has by default.
const defaultAddress = "127.0.0.1:8080"

// Address returns where the daemon here serves HTTP: the daemon of this container, otherwise
// the quote helper or another daemon on the network of this process. procfs is where the
// proc file system is mounted.
func Address(procfs string) string {
	own := func(namespace string) string {
		link, _ := os.Readlink(filepath.Join(procfs, "self/ns", namespace)) // "" is nobody's
		return link
	}
	files, network := own("mnt"), own("net")
	processes, _ := filepath.Glob(filepath.Join(procfs, "[0-9]*"))
	found, best := "", 0
	for _, process := range processes {
		program, address := served(process)
		// Without permission to read it, the process is another user's.
		if in, err := os.Readlink(filepath.Join(process, "ns/net")); address == "" || err != nil || in != network {
			continue
		}
		rank := 1
		if program == helperName {
			rank = 2
		}
		if in, _ := os.Readlink(filepath.Join(process, "ns/mnt")); in == files {
			rank = 3
		}
		if rank > best {
			found, best = address, rank
		}
	}
	return cmp.Or(found, defaultAddress)
}

// served returns the program of a process and where it serves HTTP, if it is a daemon of
// confcom that root or this user has started. Ask finds out whether that is true.
func served(process string) (program, address string) {
	info, err := os.Stat(process)
	if err != nil {
		return "", ""
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || owner.Uid != 0 && int(owner.Uid) != os.Geteuid() {
		return "", ""
	}
	text, err := os.ReadFile(filepath.Join(process, "cmdline"))
	if err != nil {
		return "", ""
	}
	args := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	program = filepath.Base(args[0])
	if program != "confcom" && !strings.HasPrefix(program, "sgx-") {
		return "", ""
	}
	const flag = "--http-address"
	for i, arg := range args { // of several, the last counts
		switch value, found := strings.CutPrefix(arg, flag+"="); {
		case found:
			address = value
		case arg == flag && i+1 < len(args):
			address = args[i+1]
		}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return program, ""
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return program, net.JoinHostPort(host, port)
}
