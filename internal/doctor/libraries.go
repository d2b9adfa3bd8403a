package doctor

import (
	"bufio"
	"context"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// searchPath are the directories that the dynamic linker looks into.
func (d *Doctor) searchPath() []string {
	dirs := filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))
	configurations, _ := filepath.Glob(d.path("/etc/ld.so.conf.d/*.conf"))
	for _, path := range configurations {
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			if dir := strings.TrimSpace(lines.Text()); strings.HasPrefix(dir, "/") {
				dirs = append(dirs, d.path(dir))
			}
		}
		file.Close()
	}
	for _, dir := range []string{"/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64", "/usr/local/lib", "/usr/lib", "/lib"} {
		dirs = append(dirs, d.path(dir))
	}
	return dirs
}

// find returns where a library is that is named as for the dynamic linker. Beside
// is a directory to look into first.
func (d *Doctor) find(name, beside string) (string, bool) {
	if strings.Contains(name, "/") {
		_, err := os.Stat(d.path(name))
		return d.path(name), err == nil
	}
	for _, dir := range append([]string{beside}, d.searchPath()...) {
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
	names, err := file.ImportedLibraries()
	file.Close()
	if err != nil {
		return []string{err.Error()}
	}
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		found, ok := d.find(name, filepath.Dir(path))
		if !ok {
			lacking = append(lacking, fmt.Sprintf("%s (for %s)", name, filepath.Base(path)))
			continue
		}
		lacking = append(lacking, d.needs(found, seen)...)
	}
	return lacking
}

const libraryRemedy = "install libsgx-dcap-ql from Intel's repository for Debian and Ubuntu, or use the image of the quote helper for SGX hardware"

// libraries tells whether Intel's quoting library is here, with all that it needs.
func (d *Doctor) libraries(context.Context) Check {
	path, found := d.find(d.Library, "")
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
	return ok(real)
}

// enclaves tells whether the architectural enclaves are where the library looks.
func (d *Doctor) enclaves(context.Context) Check {
	dir := d.EnclaveDir
	if dir == "" {
		path, found := d.find(d.Library, "")
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

// The quote providers by what they need: both packages install a library of the
// same name.
const (
	intelProvider = "libsgx-dcap-default-qpl"
	azureProvider = "az-dcap-client"
)

// installed returns the provider libraries that are here, with their packages.
func (d *Doctor) installed() map[string]string {
	found := make(map[string]string)
	for _, name := range []string{d.Provider, "libdcap_quoteprov.so.1", "libdcap_quoteprov.so"} {
		path, ok := d.find(name, "")
		if !ok {
			continue
		}
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			continue
		}
		found[real] = azureProvider
		if file, err := elf.Open(real); err == nil {
			needed, _ := file.ImportedLibraries()
			if slices.ContainsFunc(needed, func(n string) bool { return strings.HasPrefix(n, "libsgx_default_qcnl_wrapper") }) {
				found[real] = intelProvider
			}
			file.Close()
		}
	}
	return found
}

// providers tells whether there is one quote provider.
func (d *Doctor) providers(context.Context) Check {
	found := d.installed()
	paths := make([]string, 0, len(found))
	for path := range found {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	switch len(paths) {
	case 0:
		return problem("there is no quote provider library, "+d.Provider, "install libsgx-dcap-default-qpl from Intel's repository, or az-dcap-client on Azure")
	case 1:
		return ok(paths[0])
	}
	return problem("there are several quote providers: "+strings.Join(paths, ", "), "remove one of the packages libsgx-dcap-default-qpl and az-dcap-client")
}
