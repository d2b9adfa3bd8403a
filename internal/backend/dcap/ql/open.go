package ql

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
#include "library.h"
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/confcom/confcom/internal/backend/dcap/config"
)

// MissingError is a shared library that could not be loaded, or that lacks a
// function.
type MissingError struct {
	Library string // as it was configured
	Reason  string // the message of the dynamic linker
	Advice  string // which package has it
}

func (e *MissingError) Error() string { return fmt.Sprintf("%s: %s", e.Reason, e.Advice) }

const (
	adviceQuoting = "install Intel's quoting library: the package libsgx-dcap-ql on Debian and Ubuntu, from Intel's repository, or use confcom's image for SGX hardware, which has it " +
		"(confcom doctor --check=libraries)"
	adviceProvider = "install a quote provider: the package libsgx-dcap-default-qpl on Debian and Ubuntu, from Intel's repository, or az-dcap-client on Azure (also in Azure Linux); install only one of them " +
		"(confcom doctor --check=providers)"
	adviceShim = "it is built with this program and belongs in the same directory"
)

// handle is a shared library that stays loaded.
type handle struct {
	name   string
	advice string
	p      unsafe.Pointer
}

// open loads a shared library by its path, or by a name that the dynamic linker
// finds.
func open(name, advice string) (handle, error) {
	// dlerror is per thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	path := C.CString(name)
	defer C.free(unsafe.Pointer(path))
	p := C.dlopen(path, C.RTLD_NOW)
	if p == nil {
		return handle{}, &MissingError{name, C.GoString(C.dlerror()), advice}
	}
	return handle{name, advice, p}, nil
}

// find looks up a function, also in the libraries that the library depends on.
func (h handle) find(function string) unsafe.Pointer {
	name := C.CString(function)
	defer C.free(unsafe.Pointer(name))
	return C.dlsym(h.p, name)
}

// must is find for a function that is required.
func (h handle) must(function string, missing *error) unsafe.Pointer {
	p := h.find(function)
	if p == nil && *missing == nil {
		*missing = &MissingError{h.name, fmt.Sprintf("%s has no %s", h.name, function), h.advice}
	}
	return p
}

// load loads the three libraries and looks up all functions. The provider is loaded so
// that one that is missing is reported at once, and its file is one of the process's.
func load(c config.Config, shimPath string) (*C.struct_functions, C.struct_provider_functions, error) {
	none := C.struct_provider_functions{}
	// If this variable is set when the quoting library is loaded, the library asks an
	// AESM daemon for quotes: in the end, this one.
	if err := os.Unsetenv("SGX_AESM_ADDR"); err != nil {
		return nil, none, err
	}
	quoting, err := open(c.Library, adviceQuoting)
	if err != nil {
		return nil, none, err
	}
	provider, err := open(c.Provider, adviceProvider)
	if err != nil {
		return nil, none, err
	}
	shim, err := open(shimPath, adviceShim)
	if err != nil {
		return nil, none, err
	}
	// The functions that return a public key ID and a QE report, as AESM does, are in a
	// library that the quoting library depends on. Intel's daemon uses them as well.
	f := (*C.struct_functions)(C.calloc(1, C.sizeof_struct_functions))
	*f = C.struct_functions{
		set_policy: (*C.set_policy_function)(quoting.must("sgx_qe_set_enclave_load_policy", &err)),
		set_path:   (*C.set_path_function)(quoting.must("sgx_ql_set_path", &err)),
		set_log:    (*C.set_log_function)(quoting.must("sgx_ql_set_trace_callback", &err)),
		init_quote: (*C.init_quote_function)(quoting.must("sgx_ql_init_quote", &err)),
		quote_size: (*C.quote_size_function)(quoting.must("sgx_ql_get_quote_size", &err)),
		quote:      (*C.quote_function)(quoting.must("sgx_ql_get_quote", &err)),

		set_provider: (*C.set_provider_function)(shim.must("confcom_provider_set", &err)),
	}
	if err != nil {
		return nil, none, err
	}
	functions, err := provider.provider()
	return f, functions, err
}

// provider looks up the functions of a provider.
func (h handle) provider() (f C.struct_provider_functions, err error) {
	f = C.struct_provider_functions{
		get_config:    (*C.get_config_function)(h.must("sgx_ql_get_quote_config", &err)),
		set_log:       (*C.set_log_function)(h.find("sgx_ql_set_logging_callback")),
		set_azure_log: (*C.azure_log_function)(h.find("sgx_ql_set_logging_function")),
		global_init:   (*C.global_init_function)(h.find("sgx_qpl_global_init")),
		clear_cache:   (*C.clear_cache_function)(h.find("sgx_qpl_clear_cache")),
	}
	return f, err
}
