package enclavememory

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strconv"
	"strings"

	"github.com/confcom/confcom/internal/node"
)

// maxMaps is the longest accepted text of /proc/PID/maps. Linux allows 65,530 mappings by
// default, of some 100 bytes each unless their files have long names.
const maxMaps = 64 << 20

// maxLine is the longest accepted line of it. Most paths have at most 4,095 bytes, each escaped as
// four at most. A program can make one of any length, of directories in directories.
const maxLine = 64 << 10

// errTooLong is a text of more than maxMaps bytes, or a line of more than maxLine.
var errTooLong = fmt.Errorf("its list of mappings has more than %d MiB, or a line of more than %d KiB", maxMaps>>20, maxLine>>10)

// virtualEPC is the device that the EPC of virtual machines is mapped from.
const virtualEPC = "/dev/sgx_vepc"

// mapped returns how much enclave memory is mapped according to a text of the form of
// /proc/PID/maps: one line for each mapping, with the path of the file at the end.
//
// Mappings without any access do not count. Enclaves lie in an address range whose size is a
// power of two. Intel's and Gramine's loaders reserve it with such a mapping of the device, and
// only then add pages, each with its access.
//
// Private mappings do not count either. The drivers refuse them; a simulated device such as
// /dev/zero has them.
func mapped(maps io.Reader) (node.Size, error) {
	limited := &io.LimitedReader{R: maps, N: maxMaps}
	lines := bufio.NewScanner(limited)
	lines.Buffer(make([]byte, 0, 16<<10), maxLine)
	devices := append(node.EnclaveDevices(), virtualEPC)
	var sum node.Size
	for lines.Scan() {
		line := lines.Bytes()
		if !isDevice(line, devices) {
			continue
		}
		size, err := enclaveSize(line)
		if err != nil {
			return 0, fmt.Errorf("%w: %q", err, line)
		}
		sum += size
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong), err == nil && limited.N <= 0:
		return 0, errTooLong
	case err != nil:
		return 0, err
	}
	return sum, nil
}

// isDevice reports whether the path at the end of a line is that of a device. It is one as its
// container or its chroot sees it, or as seen from outside.
func isDevice(line []byte, devices []string) bool {
	slash := bytes.IndexByte(line, '/') // the fields before the path have none
	if slash < 0 {
		return false
	}
	path := bytes.TrimSuffix(line[slash:], []byte(" (deleted)")) // such as that of a container that is being removed
	for _, device := range devices {
		if bytes.HasSuffix(path, []byte(device)) {
			return true
		}
	}
	return false
}

// errNotMapping is a line that describes no mapping.
var errNotMapping = errors.New("not a mapping")

// enclaveSize returns the size of a mapping of the device, 0 if it does not count.
func enclaveSize(line []byte) (node.Size, error) {
	fields := bytes.Fields(line)
	if len(fields) < 2 || len(fields[1]) != len("rwxs") {
		return 0, errNotMapping
	}
	from, to, _ := bytes.Cut(fields[0], []byte("-"))
	start, err := address(from)
	if err != nil {
		return 0, errNotMapping
	}
	end, err := address(to)
	if err != nil || end < start {
		return 0, errNotMapping
	}
	if access := string(fields[1]); strings.HasPrefix(access, "---") || !strings.HasSuffix(access, "s") {
		return 0, nil
	}
	return node.Size(end - start), nil
}

func address(text []byte) (uint64, error) {
	return strconv.ParseUint(string(text), 16, bits.UintSize)
}
