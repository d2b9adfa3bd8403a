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
)

// MissingError is a shared library that could not be loaded, or that lacks what
// it must have.
type MissingError struct {
	Library string // as it was asked for
	Reason  string // what the dynamic linker says
	Advice  string // which package has it
}

func (e *MissingError) Error() string { return fmt.Sprintf("%s: %s", e.Reason, e.Advice) }

const (
	adviceQuoting = "install Intel's quoting library: the package libsgx-dcap-ql on Debian and Ubuntu, from Intel's repository, or the image of confcom for SGX hardware, which has it " +
		"(confcom doctor --check=libraries)"
	adviceProvider = "install a quote provider: the package libsgx-dcap-default-qpl on Debian and Ubuntu, from Intel's repository, or az-dcap-client on Azure, which Azure Linux has, too; only one of them " +
		"(confcom doctor --check=providers)"
	adviceKeeper = "it is built together with this program and lies beside it"
)

// handle is a shared library that stays loaded.
type handle struct {
	name   string
	advice string
	p      unsafe.Pointer
}

// open loads a shared library by a path, or by a name as the dynamic linker finds
// it.
func open(name, advice string) (handle, error) {
	// The text of an error is that of the thread.
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

// find looks a function up, also in the libraries that the library depends on.
func (h handle) find(function string) unsafe.Pointer {
	name := C.CString(function)
	defer C.free(unsafe.Pointer(name))
	return C.dlsym(h.p, name)
}

// must is find for what has to be there.
func (h handle) must(function string, missing *error) unsafe.Pointer {
	p := h.find(function)
	if p == nil && *missing == nil {
		*missing = &MissingError{h.name, fmt.Sprintf("%s has no %s", h.name, function), h.advice}
	}
	return p
}

// load loads the three libraries and finds all functions.
func load(o Options) (*C.struct_functions, error) {
	// With this variable in the environment, if only when it is loaded, the quoting
	// library asks an AESM daemon for quotes: in the end, this one.
	if err := os.Unsetenv("SGX_AESM_ADDR"); err != nil {
		return nil, err
	}
	quoting, err := open(o.Quoting, adviceQuoting)
	if err != nil {
		return nil, err
	}
	provider, err := open(o.Provider, adviceProvider)
	if err != nil {
		return nil, err
	}
	keeper, err := open(o.Keeper, adviceKeeper)
	if err != nil {
		return nil, err
	}
	// The functions with a public key ID and a QE report, which AESM has, are in a
	// library that the quoting library depends on. Intel's daemon uses them, too.
	f := (*C.struct_functions)(C.calloc(1, C.sizeof_struct_functions))
	*f = C.struct_functions{
		set_policy: (*C.set_policy_function)(quoting.must("sgx_qe_set_enclave_load_policy", &err)),
		set_path:   (*C.set_path_function)(quoting.must("sgx_ql_set_path", &err)),
		set_log:    (*C.set_log_function)(quoting.must("sgx_ql_set_trace_callback", &err)),
		init_quote: (*C.init_quote_function)(quoting.must("sgx_ql_init_quote", &err)),
		quote_size: (*C.quote_size_function)(quoting.must("sgx_ql_get_quote_size", &err)),
		quote:      (*C.quote_function)(quoting.must("sgx_ql_get_quote", &err)),

		get_config:       (*C.get_config_function)(provider.must("sgx_ql_get_quote_config", &err)),
		free_config:      (*C.free_config_function)(provider.must("sgx_ql_free_quote_config", &err)),
		set_provider_log: (*C.set_log_function)(provider.find("sgx_ql_set_logging_callback")),
		global_init:      (*C.global_init_function)(provider.find("sgx_qpl_global_init")),

		set_provider: (*C.set_provider_function)(keeper.must("confcom_provider_set", &err)),
	}
	return f, err
}
