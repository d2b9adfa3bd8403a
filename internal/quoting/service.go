// Package quoting is the quote service of a node: it stands between the AESM
// socket, where every enclave of the node may knock, and the one platform that
// makes quotes.
//
// The socket's side is aesm.Server, which calls the Service as its Handler. The
// platform's side is the interface Platform. In between the service shares the
// slots of the platform fairly between the callers, and answers BUSY before a
// client would lose its patience. Every error says which layer it comes from.
package quoting

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/peer"
	"github.com/confcom/confcom/sgx"
)

// Backend makes quotes with one attestation key. Its methods are called from
// several goroutines at once, and must return soon when ctx is done. An error
// that is an aesm.Code reaches the client, and one that is a *Failure names its
// layer, too.
type Backend interface {
	// InitQuote makes the key ready.
	InitQuote(ctx context.Context) (aesm.Initialized, error)
	// QuoteSize returns the exact length of the next quote in bytes. It is called
	// for every quote and waits for no slot: it must come from memory, once known.
	QuoteSize(ctx context.Context) (int, error)
	// Quote signs report. With a challenge, the quoting enclave's own report is
	// made as well.
	Quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error)
}

// Deadline is when a request is answered at the latest. Intel's client gives up
// after 15 seconds, and an answer is worth more than silence.
const Deadline = 10 * time.Second

// Service quotes for the clients of an aesm.Server.
type Service struct {
	backend Backend
	queue   *queue
	keys    []aesm.KeyID
	metrics *Metrics
}

// NewService returns the service of a platform that can serve so many requests
// at a time. It distinguishes callers by their peer, a peer.Peer.
// What happens is counted in metrics, unless they are nil.
func NewService(backend Backend, slots int, metrics *Metrics) *Service {
	s := &Service{
		backend: backend,
		queue:   newQueue(slots),
		// Clients have the key of Intel's production quoting enclave built in,
		// whatever the platform is.
		keys:    []aesm.KeyID{aesm.IntelQE3KeyID()},
		metrics: metrics,
	}
	metrics.watch(s.queue)
	return s
}

// KeyIDs returns the one key.
func (s *Service) KeyIDs(context.Context) ([]aesm.KeyID, error) { return s.keys, nil }

// InitQuote makes the platform's key ready, as soon as the platform has a slot
// free.
func (s *Service) InitQuote(ctx context.Context, caller aesm.Caller, _ aesm.KeyID) (aesm.Initialized, error) {
	return serve(ctx, caller, s, s.backend.InitQuote)
}

// QuoteSize returns the exact length of the next quote in bytes.
func (s *Service) QuoteSize(ctx context.Context, _ aesm.KeyID) (int, error) {
	ctx, stop := withDeadline(ctx)
	defer stop()
	size, err := s.backend.QuoteSize(ctx)
	return size, s.ofBackend(ctx, err)
}

// Quote signs report as soon as the platform has a slot free.
func (s *Service) Quote(ctx context.Context, caller aesm.Caller, _ aesm.KeyID, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	return serve(ctx, caller, s, func(ctx context.Context) (aesm.Quoted, error) {
		return s.backend.Quote(ctx, report, challenge)
	})
}

// serve has a slot of the platform do something, within the deadline.
func serve[T any](ctx context.Context, caller aesm.Caller, s *Service, do func(context.Context) (T, error)) (T, error) {
	ctx, stop := withDeadline(ctx)
	defer stop()
	var none T

	key := peerOf(caller.Peer).Key()
	start := time.Now()
	waited, err := s.queue.enter(ctx, key)
	if err != nil {
		return none, &Failure{LayerQueue, aesm.CodeBusy, err, adviceBusy}
	}
	defer s.queue.leave(key)
	if waited && !caller.Waits() {
		return none, &Failure{LayerClient, aesm.CodeBusy, errClientGone, "nobody has read this answer"}
	}
	served := time.Now()
	s.metrics.waited(served.Sub(start))
	v, err := do(ctx)
	s.metrics.served(time.Since(served))
	return v, s.ofBackend(ctx, err)
}

// peerOf returns p as Identifier.Identify returned it, the zero Peer for any other.
func peerOf(p aesm.Peer) peer.Peer {
	identified, _ := p.(peer.Peer)
	return identified
}

var errClientGone = errors.New("the client went away while it waited for a slot of the platform")

// What the operator of a node can do about an overload.
const (
	adviceBusy = "more is asked for than the platform can make: the metrics of the quote helper tell how long a quote takes and how many wait"
	adviceSlow = "the platform hangs or is overloaded: look at the health of what makes its quotes"
)

// ofBackend makes a *Failure of an error of the platform. One that comes from
// the deadline is aesm.CodeBusy: the client may try again.
func (s *Service) ofBackend(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Failure{LayerBackend, aesm.CodeBusy, fmt.Errorf("no answer from the platform within %s: %w", Deadline, err), adviceSlow}
	}
	code, ok := errors.AsType[aesm.Code](err)
	switch {
	case !ok && errors.Is(err, context.Canceled):
		code = aesm.CodeServiceStopped
	case !ok:
		code = aesm.CodeUnexpected
	}
	return &Failure{Layer: LayerOf(code), Code: code, Err: err}
}
