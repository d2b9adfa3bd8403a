package doctor

import (
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// searchPath returns the directories that the dynamic linker searches: ld.so(8). It reads
// the linker's configuration instead of the cache that was made from it.
func (d *Doctor) searchPath() []string {
	path, _ := d.variable("LD_LIBRARY_PATH")
	dirs := filepath.SplitList(path)
	configurations, _ := filepath.Glob(d.path("/etc/ld.so.conf.d/*.conf"))
	for _, path := range append(configurations, d.path("/etc/ld.so.conf")) {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if dir := strings.TrimSpace(line); strings.HasPrefix(dir, "/") {
				dirs = append(dirs, d.path(dir))
			}
		}
	}
	for _, dir := range []string{"/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64", "/usr/local/lib", "/usr/lib", "/lib"} {
		dirs = append(dirs, d.path(dir))
	}
	return dirs
}

// find returns the path of a library, by name or path as the dynamic linker takes it. It
// searches the directories in first before all others.
func (d *Doctor) find(name string, first ...string) (string, bool) {
	if strings.Contains(name, "/") {
		_, err := os.Stat(d.path(name))
		return d.path(name), err == nil
	}
	for _, dir := range append(first, d.searchPath()...) {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); dir != "" && err == nil {
			return path, true
		}
	}
	return "", false
}

// absence describes a library that find does not find: it is not installed, or a link with
// its name leads nowhere.
func (d *Doctor) absence(name string, first ...string) string {
	paths := []string{d.path(name)}
	if !strings.Contains(name, "/") {
		paths = nil
		for _, dir := range append(first, d.searchPath()...) {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	for _, path := range paths {
		if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return dangling(path)
		}
	}
	return name + " is not installed"
}

// missingLibraries returns the libraries that the library at path needs and that are not
// installed, each with the library that needs it. It returns an error if one that is
// installed cannot be read.
func (d *Doctor) missingLibraries(path string, seen map[string]bool) (missing []string, err error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s is not a shared library: %w", path, err)
	}
	defer file.Close()
	names, err := file.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("read the dependencies of %s: %w", path, err)
	}
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		found, ok := d.find(name, d.runPath(file, path)...)
		if !ok {
			lacks := name
			if why := d.absence(name, d.runPath(file, path)...); !strings.HasPrefix(why, name) {
				lacks = why
			}
			missing = append(missing, fmt.Sprintf("%s (for %s)", lacks, filepath.Base(path)))
			continue
		}
		more, err := d.missingLibraries(found, seen)
		if err != nil {
			return nil, err
		}
		missing = append(missing, more...)
	}
	return missing, nil
}

// runPath returns the directories in which a library itself looks for its dependencies.
func (d *Doctor) runPath(file *elf.File, path string) (dirs []string) {
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		lists, _ := file.DynString(tag)
		for _, list := range lists {
			for _, dir := range filepath.SplitList(list) {
				if rest, relative := strings.CutPrefix(strings.Replace(dir, "${ORIGIN}", "$ORIGIN", 1), "$ORIGIN"); relative {
					dirs = append(dirs, filepath.Dir(path)+rest)
				} else {
					dirs = append(dirs, d.path(dir))
				}
			}
		}
	}
	return dirs
}

// version returns the version of an installed Debian or Ubuntu package, after a space. It
// is empty if the package is not installed.
func (d *Doctor) version(name string) string {
	status, err := os.ReadFile(d.path("/var/lib/dpkg/status"))
	if err != nil {
		return ""
	}
	for entry := range strings.SplitSeq(string(status), "\n\n") {
		if !strings.HasPrefix(entry, "Package: "+name+"\n") || !strings.Contains(entry, "\nStatus: install ok installed\n") {
			continue
		}
		if _, version, ok := strings.Cut(entry, "\nVersion: "); ok {
			version, _, _ = strings.Cut(version, "\n")
			return " " + version
		}
	}
	return ""
}

const (
	libraryRemedy   = "install libsgx-dcap-ql from Intel's repository for Debian and Ubuntu, or use the quote helper's image for SGX hardware; Azure Linux does not package it"
	reinstallRemedy = "reinstall it with its dependencies: apt-get install --reinstall libsgx-dcap-ql"
)

// libraries checks that Intel's quoting library and its dependencies are installed.
func (d *Doctor) libraries(context.Context) Check {
	path, found := d.find(d.Library)
	if !found {
		return problem(d.absence(d.Library), libraryRemedy)
	}
	missing, err := d.missingLibraries(path, make(map[string]bool))
	if err != nil {
		return problem(err.Error(), reinstallRemedy)
	}
	if len(missing) > 0 {
		return problem(fmt.Sprintf("%s: missing dependencies: %s", path, strings.Join(missing, ", ")), reinstallRemedy)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return problem(err.Error(), libraryRemedy)
	}
	if version := d.version("libsgx-dcap-ql"); version != "" {
		real += " (libsgx-dcap-ql" + version + ")"
	}
	return ok(real)
}

// enclaves checks that the architectural enclaves are where the quoting library looks for
// them.
func (d *Doctor) enclaves(context.Context) Check {
	dir := d.EnclaveDir
	if dir == "" {
		path, found := d.find(d.Library)
		if !found {
			return skipped("the quoting library, which determines their directory, is not installed")
		}
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			return skipped(err.Error())
		}
		dir = filepath.Dir(real)
	}
	for _, enclave := range []struct{ file, pack string }{
		{"libsgx_qe3.signed.so.1", "libsgx-ae-qe3"},
		{"libsgx_id_enclave.signed.so.1", "libsgx-ae-id-enclave"},
		{"libsgx_pce.signed.so.1", "libsgx-ae-pce"},
	} {
		path := filepath.Join(dir, enclave.file)
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			why := path + " does not exist"
			if _, err := os.Lstat(path); err == nil {
				why = dangling(path)
			}
			return problem(why, "install the package "+enclave.pack)
		case err != nil:
			return problem(err.Error(), "make it readable for the user of the quote helper")
		case info.Size() == 0:
			return problem(path+" is empty", "reinstall the package "+enclave.pack)
		}
	}
	return ok("quoting enclave (QE), ID enclave and provisioning certification enclave (PCE) found in " + dir)
}

// The packages with a quote provider. Their libraries have the same name; their
// dependencies differ.
const (
	intelProvider = "libsgx-dcap-default-qpl"
	azureProvider = "az-dcap-client"
)

// provider is a quote provider library.
type provider struct {
	name    string // under which it was found
	path    string
	pack    string   // the package that it belongs to, empty if unknown
	missing []string // dependencies that are not installed
	err     error    // why it cannot be read
}

func (p provider) String() string {
	return fmt.Sprintf("%s (%s)", p.path, cmp.Or(p.pack, "unknown package"))
}

// installed returns the installed provider libraries. The first one is that which the
// quote helper loads, if it is installed.
func (d *Doctor) installed() (found []provider) {
	for _, name := range []string{d.Provider, "libdcap_quoteprov.so.1", "libdcap_quoteprov.so"} {
		path, ok := d.find(name)
		if !ok {
			continue
		}
		real, err := filepath.EvalSymlinks(path)
		if err != nil || slices.ContainsFunc(found, func(p provider) bool { return p.path == real }) {
			continue
		}
		p := provider{name: name, path: real}
		p.missing, p.err = d.missingLibraries(real, make(map[string]bool))
		var needed []string
		if file, err := elf.Open(real); err == nil {
			needed, _ = file.ImportedLibraries()
			file.Close()
		}
		needs := func(prefix string) bool {
			return slices.ContainsFunc(needed, func(n string) bool { return strings.HasPrefix(n, prefix) })
		}
		switch {
		case needs("libsgx_default_qcnl_wrapper.so"):
			p.pack = intelProvider
			_, either := d.find("libcurl.so")
			if _, or := d.find("libcurl.so.4"); !either && !or {
				p.missing = append(p.missing, "libcurl.so.4 (loaded for the first request to a service)")
			}
		case needs("libcurl"):
			p.pack = azureProvider
		}
		found = append(found, p)
	}
	return found
}

// providers checks that exactly one quote provider is installed, and can be loaded.
func (d *Doctor) providers(context.Context) Check {
	found := d.installed()
	switch {
	case len(found) == 0:
		return problem("no quote provider library: "+d.absence(d.Provider), "install libsgx-dcap-default-qpl from Intel's repository, or az-dcap-client on Azure")
	case len(found) > 1:
		return problem(fmt.Sprintf("several quote providers are installed: %s, %s", found[0], found[1]), "remove one of the packages libsgx-dcap-default-qpl and az-dcap-client")
	}
	p := found[0]
	switch {
	case p.name != d.Provider:
		return problem(fmt.Sprintf("%s is not installed, but %s is", d.Provider, p), "run the quote helper and confcom doctor with --dcap-provider="+p.name)
	case p.err != nil:
		return problem(p.err.Error(), "reinstall its package")
	case len(p.missing) > 0:
		return problem(fmt.Sprintf("%s: missing dependencies: %s", p, strings.Join(p.missing, ", ")), "reinstall its package with its dependencies")
	case p.pack == "":
		return ok(p.String())
	}
	return ok(fmt.Sprintf("%s (%s%s)", p.path, p.pack, d.version(p.pack)))
}
