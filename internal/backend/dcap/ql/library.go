// Package ql calls Intel's DCAP quoting library, libsgx_dcap_ql, or a quote provider,
// in this process.
//
// It is the only package of confcom that needs C. Both libraries are loaded at run
// time, so the program starts without them and can report what is missing. The
// quoting library works on one call at a time, may block for as long as what answers
// for its provider does, and can crash the process, so it belongs in a process of its
// own. So does the provider, apart from the quoting library: it may crash on the answer
// of its service.
//
// The errors of the library are in the package quote3, which needs no C.
package ql

/*
#include <stdlib.h>
#include "library.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/sgx"
)

// Options are what the libraries are given besides the configuration.
type Options struct {
	// Shim is the path of confcom's own provider library, which the quoting library
	// loads as its provider: an absolute path.
	Shim string
	// Certificates answers the calls of the quoting library to its provider. The
	// encrypted PPID is empty if the library does not give it.
	Certificates func(id certificates.ID, encryptedPPID []byte) (certificates.Data, error)
	// Log receives what the library logs. It is called from any thread.
	Log func(level Level, text string)
	// LogLevel is the level up to which it logs.
	LogLevel Level
}

// Level is the importance of what a library logs: sgx_ql_log_level_t.
type Level uint32

// The levels.
const (
	LevelError Level = iota
	LevelInfo
	LevelDebug
	LevelTrace
)

// Library is the loaded quoting library.
type Library struct {
	functions *C.struct_functions
	azure     bool // whether the provider is Azure's
	config    config.Config
	options   Options
	mu        sync.Mutex // held during each call of the quoting library
	keyBlob   atomic.Pointer[[]byte]
}

// loaded is the one Library of the process. The functions that C calls back have no
// argument that could identify it.
var loaded atomic.Pointer[Library]

// The arguments of sgx_ql_set_path: sgx_ql_path_type_t.
const (
	pathQE3 = iota
	pathPCE
	pathProvider
	pathIDE
)

// policyPersistent keeps the enclaves loaded: sgx_ql_request_policy_t.
const policyPersistent = 0

// Open loads the quoting library, the shim and the provider, of which it calls nothing.
// It can be called once in a process. The error is a *MissingError if one is missing. It removes SGX_AESM_ADDR from the environment, as
// the quoting library would otherwise ask an AESM daemon for its quotes.
func Open(c config.Config, o Options) (*Library, error) {
	l := &Library{config: c, options: o}
	if !loaded.CompareAndSwap(nil, l) {
		return nil, errors.New("the quoting library was opened in this process before")
	}
	functions, provider, err := load(c, o.Shim)
	if err != nil {
		return nil, err
	}
	l.functions, l.azure = functions, provider.set_azure_log != nil
	C.call_set_log(l.functions, C.uint32_t(o.LogLevel))
	C.call_set_provider(l.functions)
	if err := l.setPaths(); err != nil {
		return nil, err
	}
	if err := result(C.call_set_policy(l.functions, policyPersistent)); err != nil {
		return nil, fmt.Errorf("set enclave load policy of %s: %w", c.Library, err)
	}
	return l, nil
}

// HasAzureProvider reports whether the provider is Azure's, which has another
// configuration than Intel's.
func (l *Library) HasAzureProvider() bool { return l.azure }

func (l *Library) setPaths() error {
	paths := map[C.uint32_t]string{pathProvider: l.options.Shim}
	if dir := l.config.EnclaveDir; dir != "" {
		paths[pathQE3] = filepath.Join(dir, "libsgx_qe3.signed.so.1")
		paths[pathPCE] = filepath.Join(dir, "libsgx_pce.signed.so.1")
		paths[pathIDE] = filepath.Join(dir, "libsgx_id_enclave.signed.so.1")
	}
	for what, path := range paths {
		p := C.CString(path)
		defer C.free(unsafe.Pointer(p))
		if err := result(C.call_set_path(l.functions, what, p)); err != nil {
			return fmt.Errorf("set path of %s to %s, which must be a file: %w (confcom doctor --check=enclaves)", l.config.Library, path, err)
		}
	}
	return nil
}

// InitQuote loads the enclaves and initializes the attestation key, unless that is
// done. The error is a quote3.Error.
func (l *Library) InitQuote() (aesm.Initialized, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var target [sgx.TargetInfoSize]byte
	var ready aesm.Initialized
	size := C.size_t(len(ready.PublicKeyID))
	err := result(C.call_init_quote(l.functions, bytePointer(target[:]), &size, bytePointer(ready.PublicKeyID[:])))
	if err != nil {
		return aesm.Initialized{}, err
	}
	return ready, ready.TargetInfo.UnmarshalBinary(target[:])
}

// KeyBlob returns the sealed attestation key as the library has stored it, which it does
// whenever the key is certified; nil before. See certificates.ParseKeyBlob.
func (l *Library) KeyBlob() []byte {
	if blob := l.keyBlob.Load(); blob != nil {
		return *blob
	}
	return nil
}

// QuoteSize returns the length of the next quote in bytes. The error is a
// quote3.Error.
func (l *Library) QuoteSize() (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var size C.uint32_t
	err := result(C.call_quote_size(l.functions, &size))
	return int(size), err
}

// Quote signs a report, with a buffer of size bytes for the quote. The quote may be
// shorter. The error is a quote3.Error; quote3.InvalidParameter means that the buffer
// is too small.
func (l *Library) Quote(report sgx.Report, challenge *aesm.Challenge, size int) (aesm.Quoted, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, _ := report.MarshalBinary()
	quoted := aesm.Quoted{Quote: make([]byte, size)}
	var info []byte
	if challenge != nil {
		info, _ = aesm.QEReportInfo{Challenge: *challenge}.MarshalBinary()
	}
	err := result(C.call_quote(l.functions, bytePointer(r), bytePointer(info), bytePointer(quoted.Quote), C.uint32_t(size)))
	if err != nil || challenge == nil {
		return quoted, err
	}
	var answered aesm.QEReportInfo
	if err := answered.UnmarshalBinary(info); err != nil {
		return quoted, err
	}
	quoted.QEReport = answered.Report
	return quoted, nil
}

// goBytes returns the bytes of an array of C's.
func goBytes(array *[16]C.uint8_t) []byte { return unsafe.Slice((*byte)(&array[0]), len(array)) }

// bytePointer returns the address of bytes for C; NULL if there are none.
func bytePointer(b []byte) *C.uint8_t { return (*C.uint8_t)(unsafe.SliceData(b)) }

// result returns the error of a quote3_error_t.
func result(code C.uint32_t) error {
	if code == 0 {
		return nil
	}
	return quote3.Error(code)
}
