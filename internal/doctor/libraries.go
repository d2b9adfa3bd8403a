package doctor

import (
	"cmp"
	"context"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// searchPath are the directories that the dynamic linker looks into: ld.so(8). Those
// of its configuration are read where its cache was made from.
func (d *Doctor) searchPath() []string {
	dirs := filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))
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

// find returns where a library is that is named as for the dynamic linker, and looks
// into some more directories first.
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

// needs returns the libraries that a library needs and that are not here, each
// with the one that needs it.
func (d *Doctor) needs(path string, seen map[string]bool) (lacking []string) {
	file, err := elf.Open(path)
	if err != nil {
		return []string{fmt.Sprintf("%s, which is no library: %v", path, err)}
	}
	defer file.Close()
	names, err := file.ImportedLibraries()
	if err != nil {
		return []string{fmt.Sprintf("%s, which is damaged: %v", path, err)}
	}
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		found, ok := d.find(name, d.ownPath(file, path)...)
		if !ok {
			lacking = append(lacking, fmt.Sprintf("%s (for %s)", name, filepath.Base(path)))
			continue
		}
		lacking = append(lacking, d.needs(found, seen)...)
	}
	return lacking
}

// ownPath are the directories that a library itself names for those that it needs.
func (d *Doctor) ownPath(file *elf.File, path string) (dirs []string) {
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

// version is that of a package of Debian or Ubuntu with a space in front, or empty.
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

const libraryRemedy = "install libsgx-dcap-ql from Intel's repository for Debian and Ubuntu, or use the image of the quote helper for SGX hardware; Azure Linux has no package of it"

// libraries tells whether Intel's quoting library is here, with all that it needs.
func (d *Doctor) libraries(context.Context) Check {
	path, found := d.find(d.Library)
	if !found {
		return problem(d.Library+" is not installed", libraryRemedy)
	}
	if lacking := d.needs(path, make(map[string]bool)); len(lacking) > 0 {
		return problem(fmt.Sprintf("%s lacks %s", path, strings.Join(lacking, ", ")), "install its package again, with what it depends on: apt-get install --reinstall libsgx-dcap-ql")
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

// enclaves tells whether the architectural enclaves are where the library looks.
func (d *Doctor) enclaves(context.Context) Check {
	dir := d.EnclaveDir
	if dir == "" {
		path, found := d.find(d.Library)
		if !found {
			return skipped("there is no quoting library, beside which they would be")
		}
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			return skipped(err.Error())
		}
		dir = filepath.Dir(real)
	}
	packages := map[string]string{"libsgx_qe3.signed.so.1": "libsgx-ae-qe3", "libsgx_id_enclave.signed.so.1": "libsgx-ae-id-enclave", "libsgx_pce.signed.so.1": "libsgx-ae-pce"}
	for _, name := range []string{"libsgx_qe3.signed.so.1", "libsgx_id_enclave.signed.so.1", "libsgx_pce.signed.so.1"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return problem(err.Error(), "install the package "+packages[name])
		}
	}
	return ok("the QE, the ID enclave and the PCE are in " + dir)
}

// The packages with a quote provider. Both have a library of the same name, and are
// told apart by what it needs.
const (
	intelProvider = "libsgx-dcap-default-qpl"
	azureProvider = "az-dcap-client"
)

// provider is a quote provider library.
type provider struct {
	name    string // that it was found by
	path    string
	pack    string // one of the packages, or empty for somebody else's
	lacking []string
}

func (p provider) String() string {
	return fmt.Sprintf("%s (%s)", p.path, cmp.Or(p.pack, "of no known package"))
}

// installed returns the provider libraries that are here. The first is that which
// the quote helper loads, if it is here.
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
		p := provider{name: name, path: real, lacking: d.needs(real, make(map[string]bool))}
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
				p.lacking = append(p.lacking, "libcurl.so.4 (which it loads when it asks a service)")
			}
		case needs("libcurl"):
			p.pack = azureProvider
		}
		found = append(found, p)
	}
	return found
}

// providers tells whether there is one quote provider, which can be loaded.
func (d *Doctor) providers(context.Context) Check {
	found := d.installed()
	switch {
	case len(found) == 0:
		return problem("there is no quote provider library, "+d.Provider, "install libsgx-dcap-default-qpl from Intel's repository, or az-dcap-client on Azure")
	case len(found) > 1:
		return problem(fmt.Sprintf("there are several quote providers: %s, %s", found[0], found[1]), "remove one of the packages libsgx-dcap-default-qpl and az-dcap-client")
	}
	p := found[0]
	switch {
	case p.name != d.Provider:
		return problem(fmt.Sprintf("there is no %s, but %s", d.Provider, p), "run the quote helper, and this, with --dcap-provider="+p.name)
	case len(p.lacking) > 0:
		return problem(fmt.Sprintf("%s lacks %s", p, strings.Join(p.lacking, ", ")), "install its package again, with what it depends on")
	case p.pack == "":
		return ok(p.String())
	}
	return ok(fmt.Sprintf("%s (%s%s)", p.path, p.pack, d.version(p.pack)))
}
