// Package exit defines the exit codes of the confcom command, and the errors by
// which a command chooses its own.
package exit

import (
	"errors"
	"fmt"
)

// The exit codes of every command.
const (
	CodeOK       = 0
	CodeFailed   = 1 // the answer is no (a quote is not trusted, a node is not ready), or the command failed
	CodeBadInput = 2 // the command line or an input cannot be used, so there is no answer
)

// Error is an error together with the exit code of the command that returns it.
// A command that returns an error of another type was called with a wrong command
// line.
type Error struct {
	Code int
	Err  error // nil if the command's output contains the reason
}

// Failed returns err with CodeFailed.
func Failed(err error) error { return &Error{CodeFailed, err} }

// BadInput returns err with CodeBadInput.
func BadInput(err error) error { return &Error{CodeBadInput, err} }

// Quietly returns an error that ends the command with this code and prints nothing:
// the command's output contains the reason.
func Quietly(code int) error { return &Error{Code: code} }

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Code returns the exit code that err leads to.
func Code(err error) int {
	if err == nil {
		return CodeOK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeBadInput
}
