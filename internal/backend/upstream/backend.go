// Package upstream is the quote backend that forwards requests to another AESM
// daemon: Intel's aesmd makes the quotes, and the quote helper adds its queue, its
// limits and its metrics.
//
// Three things go beyond forwarding. The size of quotes is cached, since Intel's
// daemon serves one request at a time and would answer a size request only after the
// quotes before it. While the daemon restarts, requests are retried until it is back.
// And each failure says whether the daemon refused the request, did not answer, or was
// not running.
package upstream

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/sgx"
)

var _ quoting.Backend = (*Backend)(nil)

// Kind is the kind of this backend, where the daemon does not describe its own.
const Kind = "upstream"

// Backend forwards requests to the daemon behind a socket. It is safe for concurrent
// use, and forwards requests as they come: the caller bounds their concurrency.
//
// The errors of its methods are a *quoting.Failure. A code with which the daemon
// refuses a request is passed on.
type Backend struct {
	client   aesm.Client
	presence presence
	size     sizeCache

	mu  sync.Mutex
	key aesm.KeyID // of the daemon
}

// New returns a backend for the daemon behind socket. It does not connect yet. It logs
// one line to log when the daemon stops answering, and one when it is back.
func New(socket string, log *slog.Logger) *Backend {
	return &Backend{
		client:   aesm.Client{Socket: socket, DescribeBackend: true},
		presence: presence{log: log.With("socket", socket)},
		key:      aesm.IntelQE3KeyID(),
	}
}

// InitQuote makes the daemon's key ready. Since that may change the size of quotes, it
// also requests the size, so that the next QuoteSize is answered from memory.
func (b *Backend) InitQuote(ctx context.Context) (aesm.Initialized, error) {
	began := time.Now()
	ready, err := ask(ctx, b, b.client.InitQuote)
	if err != nil {
		return aesm.Initialized{}, b.failure(began, err)
	}
	// The client has what it asked for, so the size is requested only once. If that
	// fails, the next QuoteSize asks again and reports the error.
	size, err := exchange(b, time.Now(), func() (int, error) { return b.client.QuoteSize(ctx, b.currentKey()) })
	if err != nil {
		b.size.forget()
	} else {
		b.size.set(size)
	}
	if ready.Backend.Kind == "" { // it is no daemon of confcom
		ready.Backend.Kind = Kind
	}
	return ready, nil
}

// QuoteSize returns the length of the next quote in bytes. It is quick: only while the
// length is unknown does it ask the daemon, once for all callers.
func (b *Backend) QuoteSize(ctx context.Context) (int, error) {
	began := time.Now()
	size, err := b.quoteSize(ctx)
	if err != nil {
		return 0, b.failure(began, err)
	}
	return size, nil
}

// Quote forwards report to the daemon to be signed. The quote may be longer than
// QuoteSize returned, if the certificates in it have grown since.
func (b *Backend) Quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	began := time.Now()
	quoted, err := b.quote(ctx, report, challenge)
	if err != nil {
		return aesm.Quoted{}, b.failure(began, err)
	}
	return quoted, nil
}

func (b *Backend) quoteSize(ctx context.Context) (int, error) {
	size, err := b.size.get(ctx, func() (int, error) { return ask(ctx, b, b.client.QuoteSize) })
	if err != nil && err == ctx.Err() {
		// Another caller was asking, and took longer than this one has.
		err = &aesm.TransportError{Op: aesm.KindGetQuoteSizeEx, Socket: b.client.Socket, Err: err}
	}
	return size, err
}

func (b *Backend) quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	size := func(refused int) (int, error) {
		b.size.drop(refused)
		return b.quoteSize(ctx)
	}
	quote := func(size int) (aesm.Quoted, error) {
		return ask(ctx, b, func(ctx context.Context, key aesm.KeyID) (aesm.Quoted, error) {
			return b.client.GetQuote(ctx, key, report, size, challenge)
		})
	}
	quoted, err := aesm.FitQuote(size, quote)
	if err != nil {
		return aesm.Quoted{}, err
	}
	b.size.set(len(quoted.Quote)) // it may also have shrunk
	return quoted, nil
}

func (b *Backend) currentKey() aesm.KeyID {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.key
}

func (b *Backend) setKey(key aesm.KeyID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.key = key
}
