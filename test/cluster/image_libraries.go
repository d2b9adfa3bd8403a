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

// librariesOf returns the shared libraries that programs and libraries need, and
// the dynamic linker, as that linker finds them on this machine and where it does.
// What is looked for by name and is among files is left out: whoever adds a library
// says where it has to be.
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
			return nil, fmt.Errorf("what %s needs: %w", binary, err)
		}
		for _, library := range needed {
			info, err := os.Stat(library.source)
			if err != nil {
				return nil, fmt.Errorf("what %s needs: %w", binary, err)
			}
			elsewhere := library.byName && slices.ContainsFunc(added, func(other os.FileInfo) bool { return os.SameFile(info, other) })
			if !elsewhere && !slices.Contains(libraries, library.imageFile) {
				libraries = append(libraries, library.imageFile)
			}
		}
	}
	return libraries, nil
}

// dependency is a library that ld.so has found by its name; or else by its path, as
// it does a program's linker.
type dependency struct {
	imageFile
	byName bool
}

// Lines of ldd. The kernel's own library, linux-vdso, has an address and no path.
var (
	foundLine  = regexp.MustCompile(`^(?:(\S+) => )?(/.*) \(0x[0-9a-f]+\)$`)
	kernelLine = regexp.MustCompile(`^linux-\S+ \(0x[0-9a-f]+\)$`)
)

// neededBy asks ldd, which has the dynamic linker load the program but not run it.
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
			return nil, fmt.Errorf("ldd says %q: install that library, or name its directory in $LD_LIBRARY_PATH", line)
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
