// Package quoting is the quote service of a node: it stands between the AESM
// socket, where every enclave of the node may knock, and the one platform that
// makes quotes.
//
// The socket's side is aesm.Server, which calls the Service as its Handler. The
// platform's side is the interface Platform. In between the service admits as
// many quotes at a time as the platform has slots, and answers BUSY before a
// client would lose its patience.
package quoting

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/sgx"
)

// Platform makes quotes with one attestation key. Its methods are called from
// several goroutines at once, and must return soon when ctx is done.
type Platform interface {
	// InitQuote makes the key ready.
	InitQuote(ctx context.Context) (aesm.Initialized, error)
	// QuoteSize returns the exact length of the next quote in bytes.
	QuoteSize(ctx context.Context) (int, error)
	// Quote signs report. With a challenge, the quoting enclave's own report is
	// made as well. An error that is an aesm.Code reaches the client.
	Quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error)
}

// Deadline is when a request is answered at the latest. Intel's client gives up
// after 15 seconds, and an answer is worth more than silence.
const Deadline = 10 * time.Second

// Service quotes for the clients of an aesm.Server.
type Service struct {
	platform Platform
	slots    chan struct{} // holds a token for each quote in the making
}

// NewService returns the service of a platform that can make so many quotes at
// a time.
func NewService(platform Platform, slots int) *Service {
	return &Service{platform: platform, slots: make(chan struct{}, slots)}
}

// KeyIDs returns the one key: that of Intel's production quoting enclave, which
// clients have built in whatever the platform is.
func (s *Service) KeyIDs(context.Context) ([]aesm.KeyID, error) {
	return []aesm.KeyID{aesm.IntelQE3KeyID()}, nil
}

// InitQuote makes the platform's key ready.
func (s *Service) InitQuote(ctx context.Context, _ aesm.KeyID) (aesm.Initialized, error) {
	return inTime(ctx, s.platform.InitQuote)
}

// QuoteSize returns the exact length of the next quote in bytes.
func (s *Service) QuoteSize(ctx context.Context, _ aesm.KeyID) (int, error) {
	return inTime(ctx, s.platform.QuoteSize)
}

// Quote signs report as soon as the platform has a slot free.
func (s *Service) Quote(ctx context.Context, _ aesm.KeyID, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	return inTime(ctx, func(ctx context.Context) (aesm.Quoted, error) {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		case <-ctx.Done():
			return aesm.Quoted{}, fmt.Errorf("all %d slots of the platform are taken: %w", cap(s.slots), ctx.Err())
		}
		if err := ctx.Err(); err != nil {
			return aesm.Quoted{}, err // a slot came too late
		}
		return s.platform.Quote(ctx, report, challenge)
	})
}

// inTime calls f with the deadline of a request. A request that was too late is
// aesm.CodeBusy: the client may try again.
func inTime[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, Deadline)
	defer cancel()
	v, err := f(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("%w: no answer from the platform within %s: %w", aesm.CodeBusy, Deadline, err)
	}
	return v, err
}
