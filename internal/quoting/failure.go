package quoting

import (
	"errors"
	"fmt"

	"github.com/confcom/confcom/aesm"
)

// Failure is the error of a request that got no quote, with the layer that failed.
type Failure struct {
	Layer Layer
	Code  aesm.Code // the code that the client gets
	Err   error     // the cause
	// Advice tells the operator of the node what to do. If it is empty, the
	// OperatorAdvice of Code applies.
	Advice string
}

func (f *Failure) Error() string { return fmt.Sprintf("%s: %v", f.Layer, f.Err) }

// Unwrap returns the code and the cause.
func (f *Failure) Unwrap() []error { return []error{f.Code, f.Err} }

// failureOf returns the Failure behind the error that a request was answered with.
// An error that wraps no *Failure is either a panic or comes from aesm.Server, which
// rejects invalid requests.
func failureOf(code aesm.Code, err error) Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return *f
	}
	layer := LayerClient
	if _, ok := errors.AsType[*aesm.PanicError](err); ok {
		layer = LayerBackend
	}
	return Failure{Layer: layer, Code: code, Err: err}
}
