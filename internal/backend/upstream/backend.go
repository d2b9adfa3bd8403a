// Package upstream is another AESM daemon as a platform: Intel's aesmd makes the
// quotes, and the quote helper stands before it with its queue, its limits and
// its metrics.
//
// Three things make that comfortable for clients. The size of a quote is
// remembered, since Intel's daemon serves one request at a time and would answer
// only behind the quotes. A daemon that restarts is asked again until it is
// back. And each failure says whether the daemon refused, was silent, or was not
// there.
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

// Backend is the daemon behind a socket. It is safe for concurrent use, and
// passes on as many requests at a time as it is asked.
//
// The errors of its methods are a *quoting.Failure. A code with which the daemon
// refuses is passed on as it is.
type Backend struct {
	client   aesm.Client
	presence presence
	size     sizeMemory

	mu  sync.Mutex
	key aesm.KeyID // under which the daemon is asked
}

// New returns the platform behind socket. It does not connect yet. When the
// daemon falls silent, and when it is back, log gets one line.
func New(socket string, log *slog.Logger) *Backend {
	return &Backend{
		client:   aesm.Client{Socket: socket},
		presence: presence{log: log.With("socket", socket)},
		key:      aesm.IntelQE3KeyID(),
	}
}

// InitQuote has the daemon make its key ready. The size of quotes may change
// with that, so it is asked at once: the next QuoteSize is from memory.
func (b *Backend) InitQuote(ctx context.Context) (aesm.Initialized, error) {
	began := time.Now()
	ready, err := ask(ctx, b, b.client.InitQuote)
	if err != nil {
		return aesm.Initialized{}, b.failure(began, err)
	}
	// The client has what it came for, so this is tried once only. The next
	// QuoteSize asks again, and tells what is wrong.
	size, err := exchange(b, time.Now(), func() (int, error) { return b.client.QuoteSize(ctx, b.currentKey()) })
	if err != nil {
		b.size.forget()
	} else {
		b.size.remember(size)
	}
	return ready, nil
}

// QuoteSize returns the length of the next quote in bytes. It is quick: only
// while the length is not known is the daemon asked, once for all callers.
func (b *Backend) QuoteSize(ctx context.Context) (int, error) {
	began := time.Now()
	size, err := b.quoteSize(ctx)
	if err != nil {
		return 0, b.failure(began, err)
	}
	return size, nil
}

// Quote has the daemon sign report. The quote may be longer than QuoteSize has
// said, if the certificates in it have grown since.
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
		// Somebody else was asking, and took longer than we have.
		err = &aesm.TransportError{Op: aesm.KindGetQuoteSizeEx, Socket: b.client.Socket, Err: err}
	}
	return size, err
}

func (b *Backend) quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	size := func(refused int) (int, error) {
		b.size.doubt(refused)
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
	b.size.remember(len(quoted.Quote)) // it may be shorter than announced
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
