package aesm

import (
	"context"

	"github.com/confcom/confcom/sgx"
)

// PublicKeyIDSize is the length in bytes of the public ID of an ECDSA key.
const PublicKeyIDSize = 32

// Handler makes quotes for a Server. The server enforces the protocol: a handler
// only sees well-formed requests, for keys that it has.
//
// The server answers an error that is or wraps a Code with that code, one that
// wraps context.Canceled with CodeServiceStopped, and any other with
// CodeUnexpected. Methods are called from many goroutines at once.
//
// ctx has the values of the context that Serve was called with. It is cancelled
// when a stopping server exceeds DrainTimeout. It is not cancelled when the client
// disconnects; use Caller.Waits for that. Handlers should enforce their own
// deadline: clients give up after 15 seconds, so return CodeBusy before then.
type Handler interface {
	// KeyIDs returns the keys that the service can quote with now, the default
	// first. It is called for every request and must be quick. Without any key the
	// service is unavailable.
	KeyIDs(ctx context.Context) ([]KeyID, error)

	// InitQuote makes a key ready to quote. It is also how a client recovers from
	// CodeAttKeyNotInitialized. Here and below, key is one that KeyIDs returned.
	InitQuote(ctx context.Context, caller Caller, key KeyID) (Initialized, error)

	// QuoteSize returns the exact length of the next quote in bytes. It must be
	// quick: it is also called before every Quote, since a buffer that is too small
	// is refused before any signing.
	QuoteSize(ctx context.Context, key KeyID) (int, error)

	// Quote signs report. With a challenge, it also makes the quoting enclave's own
	// report.
	Quote(ctx context.Context, caller Caller, key KeyID, report sgx.Report, challenge *Challenge) (Quoted, error)
}

// Initialized describes a key that is ready to quote.
type Initialized struct {
	// TargetInfo identifies the quoting enclave; reports must be made for it.
	TargetInfo sgx.TargetInfo
	// PublicKeyID is SHA-256(public key || authentication data).
	PublicKeyID [PublicKeyIDSize]byte
	// Backend describes what makes the quotes. A server passes it on only to clients that
	// ask for it, and a client has it only if it asks, with DescribeBackend.
	Backend Backend
}

// Quoted is the result of a quote request.
type Quoted struct {
	// Quote has its exact length, without padding.
	Quote []byte
	// QEReport answers the challenge. Without a challenge it is the zero Report.
	QEReport sgx.Report
}
