package ql

/*
#include <stdlib.h>
#include "library.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
)

// Provider is a loaded quote provider.
type Provider struct {
	functions C.struct_provider_functions
	log       func(level Level, text string)
}

// loadedProvider is the one Provider of the process, as loaded is the one Library.
var loadedProvider atomic.Pointer[Provider]

// OpenProvider loads a quote provider: a path, or a name that the dynamic linker finds.
// It can be called once in a process. The error is a *MissingError if the library is
// missing, or wraps a quote3.Error. log receives what the provider logs, up to LevelInfo.
func OpenProvider(name string, log func(level Level, text string)) (*Provider, error) {
	p := &Provider{log: log}
	if !loadedProvider.CompareAndSwap(nil, p) {
		return nil, errors.New("the quote provider was opened in this process before")
	}
	library, err := open(name, adviceProvider)
	if err != nil {
		return nil, err
	}
	if p.functions, err = library.provider(); err != nil {
		return nil, err
	}
	C.call_set_provider_log(&p.functions, C.uint32_t(LevelInfo))
	if err := result(C.call_global_init(&p.functions)); err != nil {
		return nil, fmt.Errorf("initialize %s: %w", name, err)
	}
	return p, nil
}

// errNoConfig is what a provider does that cannot read the answer of its service.
var errNoConfig = errors.New("the provider reports success but returns no certificates")

// Fetch asks for the certificates of a platform. The error wraps a quote3.Error, or is a
// *certificates.UselessError.
func (p *Provider) Fetch(id certificates.ID, encryptedPPID []byte) (certificates.Data, error) {
	platform := C.struct_platform{pce_svn: C.uint16_t(id.PCESVN), pce_id: C.uint16_t(id.PCEID)}
	copy(goBytes(&platform.qe_id), id.QEID[:])
	copy(goBytes(&platform.cpu_svn), id.CPUSVN[:])
	if len(encryptedPPID) > 0 {
		platform.encrypted_ppid = (*C.uint8_t)(C.CBytes(encryptedPPID))
		platform.encrypted_ppid_size = C.uint32_t(len(encryptedPPID))
		defer C.free(unsafe.Pointer(platform.encrypted_ppid))
	}
	var answer C.struct_answer
	if err := result(C.call_get_config(&p.functions, &platform, &answer)); err != nil {
		return certificates.Data{}, err
	}
	defer C.free(unsafe.Pointer(answer.cert_data))
	const version = 1 // SGX_QL_CONFIG_VERSION_1
	switch {
	case answer.cert_data_size > C.MAX_CERT_DATA:
		return certificates.Data{}, &certificates.UselessError{Err: fmt.Errorf("the certificates take %d bytes", uint32(answer.cert_data_size))}
	case answer.cert_data == nil:
		return certificates.Data{}, &certificates.UselessError{Err: errNoConfig}
	case answer.version != version:
		return certificates.Data{}, &certificates.UselessError{Err: fmt.Errorf("version %d of the provider's configuration, want %d", uint32(answer.version), version)}
	}
	return certificates.Data{
		CPUSVN: [16]byte(goBytes(&answer.cpu_svn)),
		PCESVN: uint16(answer.pce_svn),
		Chain:  C.GoBytes(unsafe.Pointer(answer.cert_data), C.int(answer.cert_data_size)),
	}, nil
}

// ClearCache has the provider forget the certificates that it has kept itself. It does
// nothing if the provider has no function for that.
func (p *Provider) ClearCache() error { return result(C.call_clear_cache(&p.functions)) }
