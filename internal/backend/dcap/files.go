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

// files are the files that a worker was loaded from, by path: its program, its
// libraries, the enclaves beside them and the configuration.
type files map[string]version

// version distinguishes a file from another one at the same path. It is zero if
// there is none.
type version struct {
	device, inode uint64
	size          int64
	modified      int64 // in nanoseconds
}

// versionOf returns the version of a file, or of the target of a link.
func versionOf(path string) version {
	var stat syscall.Stat_t
	if syscall.Stat(path, &stat) != nil {
		return version{}
	}
	return version{stat.Dev, stat.Ino, stat.Size, stat.Mtim.Nano()}
}

// filesOf returns the files that a process was loaded from.
func filesOf(pid int, configuration string) files {
	f := make(files)
	add := func(path string) { f[path] = versionOf(path) }
	for _, path := range mapped(pid) {
		add(path)
		// The enclaves are loaded from the directories of the libraries that use them,
		// and are not mapped afterwards.
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

// mapped returns the files that a process has mapped to execute.
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
		// The path of a file that was replaced since is followed by " (deleted)".
		if path := fields[5]; len(paths) == 0 || paths[len(paths)-1] != path {
			paths = append(paths, path)
		}
	}
	return paths
}

// poll returns what is at the same paths now.
func (f files) poll() files {
	now := make(files, len(f))
	for path := range f {
		now[path] = versionOf(path)
	}
	return now
}

// startingFrom returns f with the versions that were there before the process
// started, where they are known: those in f may be too new.
func (f files) startingFrom(before files) files {
	for path := range f {
		if v, ok := before[path]; ok {
			f[path] = v
		}
	}
	return f
}

func (f files) equal(other files) bool { return maps.Equal(f, other) }
