// Package quote3 has the errors of Intel's quoting library, quote3_error_t of
// sgx_ql_lib_common.h: their names, what can be done after each, and what of it
// an AESM client is told.
//
// AESM has a code of its own for a third of them and only UNEXPECTED for the
// rest. So the log and the metrics of the quote helper have these.
package quote3

import (
	"fmt"

	"github.com/confcom/confcom/aesm"
)

// Error is a quote3_error_t that is not success.
type Error uint32

// The errors that callers tell apart. Name has the names of all.
const (
	Unexpected             Error = 0xe001
	InvalidParameter       Error = 0xe002 // of a quote: its buffer is too small
	PlatformLibUnavailable Error = 0xe00e // no provider library
	AttKeyNotInitialized   Error = 0xe00f
	NoPlatformCertData     Error = 0xe011
	EnclaveLost            Error = 0xe014
	InvalidReport          Error = 0xe015
	EnclaveLoadError       Error = 0xe016
	NetworkError           Error = 0xe019
	InvalidPrivilege       Error = 0xe035
	first, last            Error = 0xe001, 0xe0ff
)

// Known tells whether a number is in the range of these errors.
func Known(code uint32) bool { return Error(code) >= first && Error(code) <= last }

// Error returns the name and the number, such as "SGX_QL_NETWORK_ERROR (0xe019)".
func (e Error) Error() string { return fmt.Sprintf("%s (%#04x)", e.Name(), uint32(e)) }

// Class is what can be done after an error.
type Class uint8

// The classes.
const (
	// Other is any error of which nothing is known: another process may do better.
	Other Class = iota
	// Transient may be over soon, and another process may not have it.
	Transient
	// Reinit is over once the key was made ready anew.
	Reinit
	// Broken is for ever in this process, and another one does not have it.
	Broken
	// Caller is about the request: it is the same in any process.
	Caller
	// Deployment is about what is installed or allowed, or about the registration
	// of the platform: it is the same in any process until somebody changes that.
	Deployment
)

// Class tells what can be done after the error.
func (e Error) Class() Class { return e.entry().class }

// Name returns the name in Intel's header, such as
// SGX_QL_NETWORK_ERROR, and "unknown" for a number that has none.
func (e Error) Name() string { return e.entry().name }

// AESM returns the code that an AESM client is told, as Intel's daemon does it.
func (e Error) AESM() aesm.Code { return e.entry().code }

// Advice says what to do, or nothing where nothing is known to help.
func (e Error) Advice() string { return e.entry().advice }

// Check names the check of "confcom doctor" that looks into the error's cause, or
// is empty where none does.
func (e Error) Check() string { return e.entry().check }

type entry struct {
	name   string
	class  Class
	code   aesm.Code
	advice string
	check  string
}
