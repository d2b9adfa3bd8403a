// Package quoting is the quote service of a node. It stands between aesm.Server,
// which calls the Service as its Handler for every enclave of the node, and the one
// Backend that makes quotes.
//
// The service shares the backend fairly between the calling pods, and answers BUSY
// before a client's timeout expires. Every error names the layer that it comes from.
//
//   - turn.go decides which pod's request is served next; queue.go is where requests
//     wait for it.
//   - busy.go decides which requests are answered BUSY, by the pace that pace.go
//     measures; deadline.go bounds all of them.
//   - target.go decides which invalid reports are those for an earlier quoting enclave.
//   - layer.go decides which layer an error comes from.
//   - observer.go writes the audit log; linelimit.go limits its lines.
package quoting

import (
	"context"
	"errors"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/peer"
	"github.com/confcom/confcom/internal/quoting/targets"
	"github.com/confcom/confcom/sgx"
)

// Backend makes quotes with one attestation key. Its methods are called from
// several goroutines at once, and must return soon after ctx is done. If an error
// wraps an aesm.Code, the client gets that code; a *Failure also names its layer.
type Backend interface {
	// InitQuote makes the key ready.
	InitQuote(ctx context.Context) (aesm.Initialized, error)
	// QuoteSize returns a size in bytes that is enough for the next quote, and is its
	// exact length if the backend knows that. It is called for every quote, without
	// waiting for a turn: once the size is known, it must come from memory.
	QuoteSize(ctx context.Context) (int, error)
	// Quote signs report. With a challenge, it also returns a report of the quoting
	// enclave.
	Quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error)
}

// Reporter is a Backend that can make reports itself, as an enclave would.
type Reporter interface {
	// Report returns a report of the quote helper for target.
	Report(target sgx.TargetInfo) (sgx.Report, error)
}

// Service quotes for the clients of an aesm.Server.
type Service struct {
	backend Backend
	queue   *queue
	keys    []aesm.KeyID
	targets *targets.Memory
	metrics *Metrics
}

// NewService returns the service of a backend that serves up to concurrency requests
// at a time. A nil metrics counts nothing.
func NewService(backend Backend, concurrency int, metrics *Metrics) *Service {
	s := &Service{
		backend: backend,
		queue:   newQueue(concurrency),
		// Clients have the key ID of Intel's production quoting enclave built in,
		// whatever the backend is.
		keys:    []aesm.KeyID{aesm.IntelQE3KeyID()},
		targets: new(targets.Memory),
		metrics: metrics,
	}
	metrics.watch(s.queue)
	return s
}

// Remember has the service use the quoting enclaves that memory has. Without it, the
// service knows only those that the backend has had since NewService. It must be called
// before the service is used.
func (s *Service) Remember(memory *targets.Memory) { s.targets = memory }

// KeyIDs returns the ID of the one key.
func (s *Service) KeyIDs(context.Context) ([]aesm.KeyID, error) { return s.keys, nil }

// InitQuote makes the backend's key ready, when it is the caller's turn.
func (s *Service) InitQuote(ctx context.Context, caller aesm.Caller, _ aesm.KeyID) (aesm.Initialized, error) {
	return serve(ctx, s, caller, workInit, s.initQuote)
}

// QuoteSize returns a size in bytes that is enough for the next quote.
func (s *Service) QuoteSize(ctx context.Context, _ aesm.KeyID) (int, error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	size, err := s.backend.QuoteSize(ctx)
	return size, backendError(ctx, err)
}

// Quote signs report, when it is the caller's turn.
func (s *Service) Quote(ctx context.Context, caller aesm.Caller, _ aesm.KeyID, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	return serve(ctx, s, caller, workQuote, func(ctx context.Context) (aesm.Quoted, error) {
		quoted, err := s.backend.Quote(ctx, report, challenge)
		if errors.Is(err, aesm.CodeInvalidReport) {
			err = s.invalidReport(ctx, err)
		}
		return quoted, err
	})
}

// serve calls do, which is some work for the backend, when it is the caller's turn, within
// the deadline.
func serve[T any](ctx context.Context, s *Service, caller aesm.Caller, w work, do func(context.Context) (T, error)) (T, error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	var none T

	key := peerOf(caller.Peer).Key()
	start := time.Now()
	waited, err := s.queue.enter(ctx, key, w)
	if err != nil {
		return none, busyQueue(err)
	}
	defer s.queue.leave(key)
	if waited && !caller.Waits() {
		return none, busyClientGone()
	}
	served := time.Now()
	s.metrics.waited(served.Sub(start))
	v, err := do(ctx)
	s.measured(ctx, w, time.Since(served), err)
	return v, backendError(ctx, err)
}

// measured records that the backend has spent took on some work for a request whose context
// is ctx, and returned err.
func (s *Service) measured(ctx context.Context, w work, took time.Duration, err error) {
	s.metrics.served(took)
	if err != nil {
		switch err := ctx.Err(); {
		case errors.Is(err, context.DeadlineExceeded):
			s.queue.paces[w].cutOff(took)
			return
		case err != nil:
			return
		}
	}
	s.queue.paces[w].served(took)
}

// backendError returns an error of the backend as a *Failure, nil if there is none.
// ctx is that of the request.
func backendError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return busyBackend(err)
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

// peerOf returns the peer of a connection, the zero Peer if it was not identified.
func peerOf(p aesm.Peer) peer.Peer {
	known, _ := p.(peer.Peer)
	return known
}
