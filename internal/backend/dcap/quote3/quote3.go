// Package quote3 has the errors of Intel's quoting library, quote3_error_t of
// sgx_ql_lib_common.h: their names, what can be done after each, and which AESM
// code a client gets.
//
// AESM has a code of its own for a third of them and only UNEXPECTED for the
// rest, so the log and the metrics of the quote helper use the library's names.
//
// The list is errors.csv. The AESM codes in it are those of Intel's daemon where
// it has one, and otherwise those that make its clients do the right thing: NETWORK
// for every failure to reach the certificates. Errors that only quote verification
// can cause are listed with their names alone.
package quote3

import (
	"fmt"

	"github.com/confcom/confcom/aesm"
)

//go:generate sh -c "go run generate.go >errors_gen.go.new && mv errors_gen.go.new errors_gen.go"

// Error is a quote3_error_t that is not success.
type Error uint32

// The range of the errors, as Intel reserves it.
const first, last Error = 0xe001, 0xe0ff

// Known reports whether a number is in the range of these errors.
func Known(code uint32) bool { return Error(code) >= first && Error(code) <= last }

// Error returns the name and the number, such as "SGX_QL_NETWORK_ERROR (0xe019)".
func (e Error) Error() string { return fmt.Sprintf("%s (%#04x)", e.Name(), uint32(e)) }

// Class is what can be done after an error.
type Class uint8

// The classes.
const (
	// Other is an error about which nothing is known: another process may succeed.
	Other Class = iota
	// Transient may be over soon, and another process may not be affected.
	Transient
	// Reinit is over once the key has been initialized again.
	Reinit
	// Broken is permanent in this process and does not affect another one.
	Broken
	// Caller is about the request: every process returns it.
	Caller
	// Deployment is about what is installed or permitted, or about the platform's
	// registration: every process returns it until that is changed.
	Deployment
)

// Class returns what can be done after the error.
func (e Error) Class() Class { return e.entry().class }

// Name returns the name in Intel's header, such as SGX_QL_NETWORK_ERROR, or
// "unknown" for a number without a name.
func (e Error) Name() string { return e.entry().name }

// AESM returns the code that an AESM client gets.
func (e Error) AESM() aesm.Code { return e.entry().code }

// Advice says what to do, or is empty where nothing is known to help.
func (e Error) Advice() string { return e.entry().advice }

// Check names the check of "confcom doctor" that examines the error's cause, or is
// empty where none does.
func (e Error) Check() string { return e.entry().check }

// entry is a row of errors.csv.
type entry struct {
	name   string
	class  Class
	code   aesm.Code
	advice string
	check  string
}
