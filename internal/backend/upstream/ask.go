package upstream

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/confcom/confcom/aesm"
)

// retryPause is the time between two attempts to reach a daemon that is not running.
const retryPause = 100 * time.Millisecond

// maxUnanswered is how often a request is sent that the daemon has accepted and not
// answered: it may be the request that crashes the daemon.
const maxUnanswered = 2

// ask makes a request for the daemon's key. That is Intel's key, unless the daemon's
// quoting enclave has another signer. Clients need not know: they use the ID that they
// have built in, and the helper accepts it.
func ask[T any](ctx context.Context, b *Backend, request func(context.Context, aesm.KeyID) (T, error)) (T, error) {
	key := b.currentKey()
	v, err := retry(ctx, b, func() (T, error) { return request(ctx, key) })
	if !errors.Is(err, aesm.CodeUnsupportedAttKeyID) {
		return v, err
	}
	selected, selectErr := retry(ctx, b, func() (aesm.KeyID, error) { return b.client.SelectKeyID(ctx) })
	if selectErr != nil {
		return v, selectErr
	}
	if selected.Base() == key.Base() || selected.Algorithm() != aesm.ECDSAP256 {
		return v, err
	}
	b.setKey(selected)
	return retry(ctx, b, func() (T, error) { return request(ctx, selected) })
}

// retry makes a request, and again while the daemon is not running, as long as ctx
// allows. Every request of the protocol may be repeated.
//
// It returns the last error of the request, and gives up before the deadline of ctx
// rather than at it, so that the caller still has time to report the error. If the deadline
// ends an attempt all the same, that says less than the attempt before: the daemon was absent
// then, and is not known to be slow now.
func retry[T any](ctx context.Context, b *Backend, request func() (T, error)) (v T, err error) {
	began := time.Now()
	accepted := 0 // how often the daemon has accepted the request and not answered
	attempt := func() (struct{}, error) {
		before := err
		v, err = exchange(b, began, request)
		if before != nil && err != nil && ctx.Err() != nil {
			err = before
			return struct{}{}, backoff.Permanent(err)
		}
		if errors.Is(err, aesm.ErrNoReply) {
			accepted++
		}
		if !restarting(err) || accepted == maxUnanswered {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}
	limit := time.Duration(0) // none
	if deadline, ok := ctx.Deadline(); ok {
		limit = max(deadline.Sub(began)-1, 1) // the deadline itself is too late
	}
	// Its error may be that of ctx, which says less than the request's.
	_, _ = backoff.Retry(ctx, attempt,
		backoff.WithBackOff(backoff.NewConstantBackOff(retryPause)), backoff.WithMaxElapsedTime(limit))
	return v, err
}

// exchange makes a request once and updates what the backend knows of the daemon.
// began is when the request was first attempted.
func exchange[T any](b *Backend, began time.Time, request func() (T, error)) (T, error) {
	v, err := request()
	b.presence.note(began, err)
	if restarting(err) || errors.Is(err, aesm.CodeAttKeyNotInitialized) {
		// Another key or other certificates may change the size.
		b.size.forget()
	}
	return v, err
}

// restarting reports whether a request failed as it does while the daemon restarts.
func restarting(err error) bool {
	return unanswered(err) && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, aesm.ErrNoReply))
}

// unanswered reports whether a request failed without a reply from the daemon.
func unanswered(err error) bool {
	_, ok := errors.AsType[*aesm.TransportError](err)
	return ok
}
