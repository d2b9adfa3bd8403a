package quoting

import (
	"errors"
	"fmt"

	"github.com/confcom/confcom/aesm"
)

// Layer is the part of a quote's way that failed: where to look first.
type Layer string

// The layers, from the enclave to the outside.
const (
	LayerClient   Layer = "client"   // the request itself is wrong, or its report
	LayerQueue    Layer = "queue"    // too many wait, or one has waited too long
	LayerBackend  Layer = "backend"  // what makes the quotes: its enclaves, its device, its daemon
	LayerWorker   Layer = "worker"   // a process of the platform that has died or hangs
	LayerProvider Layer = "provider" // the library or service that has the certificates says no
	LayerNetwork  Layer = "network"  // the way there
)

// LayerOf returns the layer that a platform's error comes from where nothing but
// its code is known. The sizes and the key of a request were checked before the
// platform had it, so those codes are about the platform itself.
func LayerOf(code aesm.Code) Layer {
	switch code {
	case aesm.CodeAttKeyNotInitialized, // the client has to start again
		aesm.CodeErrorReport, aesm.CodeInvalidReport, // its report is none for this platform
		aesm.CodeUnableToGenerateQEReport: // its challenge names no enclave
		return LayerClient
	case aesm.CodeNetwork, aesm.CodeNetworkBusy, aesm.CodeProxySettingAssist, // no way to the certificates
		aesm.CodeMsg: // something on the way has answered in their place
		return LayerNetwork
	case aesm.CodePlatformLibUnavailable, // no library that could get certificates
		aesm.CodeAttKeyCertDataInvalid, aesm.CodeNoPlatformCertData: // it got none that fit
		return LayerProvider
	}
	// What is left is the enclaves, the device, the daemon itself; also
	// CodeUnexpected, with which Intel's quoting library hides most causes.
	return LayerBackend
}

// Failure is why there is no quote, and where.
type Failure struct {
	Layer Layer
	Code  aesm.Code // what the client is told
	Err   error     // the cause
	// Advice says what the operator of the node can do; empty means the advice
	// that Code has.
	Advice string
}

func (f *Failure) Error() string { return fmt.Sprintf("%s: %v", f.Layer, f.Err) }

// Unwrap returns the code and the cause.
func (f *Failure) Unwrap() []error { return []error{f.Code, f.Err} }

// failureOf finds out what is behind an error with which a request was answered.
// What is no *Failure comes from the checks of aesm.Server, which are about what
// the client has sent; or it is a bug.
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
