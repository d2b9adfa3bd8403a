package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// librariesOf returns the shared libraries that programs and libraries need, and the
// dynamic linker, at the paths where that linker finds them on this machine. It omits
// libraries that are looked up by name and are among files: a library that is added
// explicitly has the path that was chosen for it.
func librariesOf(binaries []string, files []imageFile) ([]imageFile, error) {
	var added []os.FileInfo
	for _, f := range files {
		info, err := os.Stat(f.source)
		if err != nil {
			return nil, err
		}
		added = append(added, info)
	}
	var libraries []imageFile
	for _, binary := range binaries {
		needed, err := neededBy(binary)
		if err != nil {
			return nil, fmt.Errorf("find libraries of %s: %w", binary, err)
		}
		for _, library := range needed {
			info, err := os.Stat(library.source)
			if err != nil {
				return nil, fmt.Errorf("find libraries of %s: %w", binary, err)
			}
			elsewhere := library.byName && slices.ContainsFunc(added, func(other os.FileInfo) bool { return os.SameFile(info, other) })
			if !elsewhere && !slices.Contains(libraries, library.imageFile) {
				libraries = append(libraries, library.imageFile)
			}
		}
	}
	return libraries, nil
}

// dependency is a library that ld.so has found by its name, or by its path, as it finds
// the dynamic linker of a program.
type dependency struct {
	imageFile
	byName bool
}

// Lines of ldd. The kernel's own library, linux-vdso, has an address but no path.
var (
	foundLine  = regexp.MustCompile(`^(?:(\S+) => )?(/.*) \(0x[0-9a-f]+\)$`)
	kernelLine = regexp.MustCompile(`^linux-\S+ \(0x[0-9a-f]+\)$`)
)

// neededBy runs ldd, which makes the dynamic linker load the program without running
// it.
func neededBy(binary string) ([]dependency, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	command := exec.Command("ldd", binary)
	command.Env = append(os.Environ(), "LC_ALL=C")
	output, err := command.CombinedOutput()
	text := strings.TrimSpace(string(output))
	if err != nil {
		return nil, fmt.Errorf("ldd: %w: %s", err, text)
	}
	if text == "statically linked" {
		return nil, nil
	}
	var needed []dependency
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if kernelLine.MatchString(line) {
			continue
		}
		m := foundLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("ldd: %q: install the library, or add its directory to $LD_LIBRARY_PATH", line)
		}
		name, source := m[1], m[2]
		library := dependency{imageFile{source, filepath.Clean(source)}, name != "" && !strings.Contains(name, "/")}
		if strings.HasPrefix(name, "/") {
			library.target = filepath.Clean(name)
		}
		needed = append(needed, library)
	}
	return needed, nil
}
