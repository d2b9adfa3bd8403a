package dcap

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// files are what a worker was loaded from, by path: its program, its libraries,
// the enclaves beside them and the configuration.
type files map[string]version

// version tells one file from another one at the same path. It is zero for a file
// that is not there.
type version struct {
	device, inode uint64
	size          int64
	modified      int64 // in nanoseconds
}

// versionOf looks at a file, or at what a link leads to.
func versionOf(path string) version {
	var stat syscall.Stat_t
	if syscall.Stat(path, &stat) != nil {
		return version{}
	}
	return version{stat.Dev, stat.Ino, stat.Size, stat.Mtim.Nano()}
}

// filesOf finds out what a process was loaded from.
func filesOf(pid int, configuration string) files {
	f := make(files)
	add := func(path string) { f[path] = versionOf(path) }
	for _, path := range mapped(pid) {
		add(path)
		// The enclaves are loaded from beside the libraries that use them, and are not
		// mapped afterwards.
		enclaves, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "libsgx_*.signed.so*"))
		for _, enclave := range enclaves {
			add(enclave)
		}
	}
	if configuration != "" {
		add(configuration)
	}
	return f
}

// mapped are the files that a process has mapped to execute.
func mapped(pid int) []string {
	file, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil
	}
	defer file.Close()
	var paths []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		// address, permissions, offset, device, inode, path
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || !strings.Contains(fields[1], "x") || !strings.HasPrefix(fields[5], "/") {
			continue
		}
		// A file that was replaced since has " (deleted)" behind its path.
		if path := fields[5]; len(paths) == 0 || paths[len(paths)-1] != path {
			paths = append(paths, path)
		}
	}
	return paths
}

// look looks at the same paths again.
func (f files) look() files {
	now := make(files, len(f))
	for path := range f {
		now[path] = versionOf(path)
	}
	return now
}

// startingFrom replaces what may be too new, as the files were looked at after the
// process had started, by what was there before.
func (f files) startingFrom(before files) files {
	for path := range f {
		if v, ok := before[path]; ok {
			f[path] = v
		}
	}
	return f
}

func (f files) equal(other files) bool { return maps.Equal(f, other) }
