package aesm

import (
	"context"

	"github.com/confcom/confcom/sgx"
)

// PublicKeyIDSize is the length in bytes of the public id of an ECDSA key.
const PublicKeyIDSize = 32

// Handler makes quotes for a Server. The server keeps all rules of the protocol:
// a handler sees only requests that are well formed, under keys that it has.
//
// An error that is or wraps a Code is answered with that code, one that wraps
// context.Canceled with CodeServiceStopped, any other with CodeUnexpected. Methods
// are called from many goroutines at once.
//
// ctx has the values of the context that Serve was called with. It is cancelled
// when a stopping server exceeds DrainTimeout. It is not cancelled when the client
// disconnects; use Caller.Waits for that. Handlers should enforce their own
// deadline: clients give up after 15 seconds, so return CodeBusy before then.
type Handler interface {
	// KeyIDs returns the keys that the service can quote with now, the default
	// first. It is called for every request and must be quick. Without any key
	// the service is unavailable.
	KeyIDs(ctx context.Context) ([]KeyID, error)

	// InitQuote makes a key ready to quote. It is also how a client recovers
	// from CodeAttKeyNotInitialized. The key is one that KeyIDs returned, here
	// and below.
	InitQuote(ctx context.Context, caller Caller, key KeyID) (Initialized, error)

	// QuoteSize returns the exact length of the next quote in bytes. It is called
	// before every Quote too, since a buffer that is too small is refused before
	// any signing, so it must be quick.
	QuoteSize(ctx context.Context, key KeyID) (int, error)

	// Quote signs report. With a challenge, the quoting enclave's own report is
	// made as well.
	Quote(ctx context.Context, caller Caller, key KeyID, report sgx.Report, challenge *Challenge) (Quoted, error)
}

// Initialized is a key that is ready to quote.
type Initialized struct {
	// TargetInfo is the quoting enclave: reports have to be made for it.
	TargetInfo sgx.TargetInfo
	// PublicKeyID names the key: SHA-256(public key || authentication data).
	PublicKeyID [PublicKeyIDSize]byte
}

// Quoted is a quote.
type Quoted struct {
	// Quote has its exact length, without padding.
	Quote []byte
	// QEReport answers the challenge; it is the zero Report where there was none.
	QEReport sgx.Report
}
