package ql

/*
#include <stdlib.h>
#include "library.h"
*/
import "C"

import (
	"errors"
	"strings"
	"unsafe"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
)

// logFromC is called by the quoting library with a line of its log.
//
//export logFromC
func logFromC(level C.uint32_t, text *C.char) {
	if l := loaded.Load(); l != nil && l.options.Log != nil {
		l.options.Log(Level(level), strings.TrimSpace(C.GoString(text)))
	}
}

// logProviderFromC is called by the provider with a line of its log.
//
//export logProviderFromC
func logProviderFromC(level C.uint32_t, text *C.char) {
	if p := loadedProvider.Load(); p != nil && p.log != nil {
		p.log(Level(level), strings.TrimSpace(C.GoString(text)))
	}
}

// getKeptFromC is called when the quoting library calls its provider. The memory of
// the answer is C's.
//
//export getKeptFromC
func getKeptFromC(platform *C.struct_platform, answer *C.struct_answer) C.uint32_t {
	l := loaded.Load()
	id := certificates.ID{
		QEID: [16]byte(goBytes(&platform.qe_id)), CPUSVN: [16]byte(goBytes(&platform.cpu_svn)),
		PCESVN: uint16(platform.pce_svn), PCEID: uint16(platform.pce_id),
	}
	data, err := l.options.Certificates(id, encryptedPPID(platform))
	if err != nil {
		code, ok := errors.AsType[quote3.Error](err)
		if !ok {
			code = quote3.Unexpected
		}
		return C.uint32_t(code)
	}
	copy(goBytes(&answer.cpu_svn), data.CPUSVN[:])
	answer.pce_svn = C.uint16_t(data.PCESVN)
	answer.cert_data = (*C.uint8_t)(C.CBytes(data.Chain))
	answer.cert_data_size = C.uint32_t(len(data.Chain))
	return 0
}

// maxBlob is more than the sealed attestation key takes, in bytes.
const maxBlob = 64 << 10

// keepBlobFromC is called when the quoting library has had its key certified.
//
//export keepBlobFromC
func keepBlobFromC(data *C.uint8_t, size C.uint32_t) {
	if l := loaded.Load(); l != nil && size <= maxBlob {
		blob := C.GoBytes(unsafe.Pointer(data), C.int(size))
		l.keyBlob.Store(&blob)
	}
}

// encryptedPPID returns that of a platform, or nil if the library does not give it:
// it may be missing, or all zeros.
func encryptedPPID(platform *C.struct_platform) []byte {
	ppid := C.GoBytes(unsafe.Pointer(platform.encrypted_ppid), C.int(platform.encrypted_ppid_size))
	if strings.Trim(string(ppid), "\x00") == "" {
		return nil
	}
	return ppid
}
