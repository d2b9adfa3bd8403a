package dcaptest

import (
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// ErrNoCompiler says that this machine cannot compile the libraries.
var ErrNoCompiler = errors.New("dcaptest: no C++ compiler or no OpenSSL to build the stand-in for Intel's quoting library with: install the Debian packages g++ and libssl-dev")

//go:embed lib
var sources embed.FS

// Flags of all libraries. They let go of the provider when it is closed, which a
// GNU_UNIQUE symbol would prevent.
const flags = "-std=c++17 -O1 -fPIC -shared -fno-gnu-unique -Wall -Wextra -Werror -pthread -Wl,--version-script=exports.map -Wl,-z,defs "

// How each library is built, in this order, in the directory of the sources. Of
// OpenSSL they take the archive: so they need no library at run time that Intel's
// do not need. Only libsgx_dcap_ql finds its neighbour by itself; the provider must
// be found by the dynamic linker's rules, as Intel's must.
var steps = []string{
	flags + "qe3_logic.cc processor.cc faults.cc -o " + QE3Logic + " -Wl,-soname," + QE3Logic + " -l:libcrypto.a -ldl",
	flags + "dcap_ql.cc -o " + QuotingLibrary + " -Wl,-soname," + QuotingLibrary + " -L. -l:" + QE3Logic + " -Wl,--enable-new-dtags,-rpath,$ORIGIN -ldl",
	flags + "quoteprov.cc faults.cc -o " + Provider + " -Wl,-soname," + Provider + " -ldl",
}

// compile returns a directory with the compiled libraries: that of the user's cache
// which belongs to these very sources.
func compile() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("dcaptest: no place for the compiled libraries: %w", err)
	}
	key, err := sourcesKey()
	if err != nil {
		return "", err
	}
	parent := filepath.Join(cache, "confcom", "dcaptest")
	dir := filepath.Join(parent, key)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := checkCompiler(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("dcaptest: %w", err)
	}
	work, err := os.MkdirTemp(parent, "new-")
	if err != nil {
		return "", fmt.Errorf("dcaptest: %w", err)
	}
	defer os.RemoveAll(work)
	if err := os.CopyFS(work, sources); err != nil {
		return "", fmt.Errorf("dcaptest: %w", err)
	}
	built := filepath.Join(work, "lib")
	for _, step := range steps {
		cmd := exec.Command("g++", strings.Fields(step)...)
		cmd.Dir = built
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("dcaptest: g++ %s: %w\n%s", step, err, out)
		}
	}
	// Another process may have been quicker; then its libraries are as good.
	if err := os.Rename(built, dir); err != nil {
		if _, e := os.Stat(dir); e != nil {
			return "", fmt.Errorf("dcaptest: %w", err)
		}
	}
	return dir, nil
}

// sourcesKey is a name for what the sources and the flags make.
func sourcesKey() (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.GOARCH, steps)
	entries, err := sources.ReadDir("lib")
	if err != nil {
		return "", fmt.Errorf("dcaptest: %w", err)
	}
	for _, e := range entries {
		data, err := sources.ReadFile("lib/" + e.Name())
		if err != nil {
			return "", fmt.Errorf("dcaptest: %w", err)
		}
		fmt.Fprintln(hash, e.Name(), len(data))
		hash.Write(data)
	}
	return fmt.Sprintf("%x", hash.Sum(nil)[:16]), nil
}

// checkCompiler looks for a compiler and for OpenSSL's headers.
func checkCompiler() error {
	cmd := exec.Command("g++", "-fsyntax-only", "-x", "c++", "-")
	cmd.Stdin = strings.NewReader("#include <thread>\n#include <openssl/evp.h>\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %w\n%s", ErrNoCompiler, err, out)
	}
	return nil
}
