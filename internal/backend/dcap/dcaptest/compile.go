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

// ErrNoCompiler means that this machine cannot compile the libraries.
var ErrNoCompiler = errors.New("dcaptest: build the stand-in for Intel's quoting library: no C++ compiler or no OpenSSL: install the Debian packages g++ and libssl-dev")

//go:embed lib
var sources embed.FS

// The flags of all libraries. A GNU_UNIQUE symbol would keep the provider loaded after
// it is closed.
const flags = "-std=c++17 -O1 -fPIC -shared -fno-gnu-unique -Wall -Wextra -Werror -pthread -Wl,--version-script=exports.map -Wl,-z,defs "

// The steps that build the libraries, in the directory of the sources. OpenSSL is linked
// statically, so that they need no library at run time that Intel's do not need. Only
// libsgx_dcap_ql finds its neighbours through its own path; the dynamic linker must find
// the provider, as it must find Intel's.
var steps = []string{
	flags + "pce_logic.cc -o " + PCELogic + " -Wl,-soname," + PCELogic + " -ldl",
	flags + "qe3_logic.cc processor.cc faults.cc -o " + QE3Logic + " -Wl,-soname," + QE3Logic + " -Wl,-z,undefs -l:libcrypto.a -ldl", // libsgx_dcap_ql loads the PCE's
	flags + "dcap_ql.cc -o " + QuotingLibrary + " -Wl,-soname," + QuotingLibrary + " -L. -l:" + QE3Logic + " -l:" + PCELogic + " -Wl,--enable-new-dtags,-rpath,$ORIGIN -ldl",
	flags + "quoteprov.cc faults.cc -o " + Provider + " -Wl,-soname," + Provider + " -ldl",
	flags + "-DAZURE quoteprov.cc faults.cc -o " + AzureProvider + " -Wl,-soname," + AzureProvider + " -ldl",
}

// compile returns a directory with the compiled libraries: the one in the user's cache
// for exactly these sources.
func compile() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("dcaptest: find directory for the compiled libraries: %w", err)
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
	// Another process may have been faster; its libraries are the same.
	if err := os.Rename(built, dir); err != nil {
		if _, e := os.Stat(dir); e != nil {
			return "", fmt.Errorf("dcaptest: %w", err)
		}
	}
	return dir, nil
}

// sourcesKey returns a name for the result of the sources and the flags.
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

// checkCompiler checks that there are a compiler and OpenSSL's headers.
func checkCompiler() error {
	cmd := exec.Command("g++", "-fsyntax-only", "-x", "c++", "-")
	cmd.Stdin = strings.NewReader("#include <thread>\n#include <openssl/evp.h>\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %w\n%s", ErrNoCompiler, err, out)
	}
	return nil
}
