package upstream

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"time"

	"github.com/confcom/confcom/aesm"
)

// retryPause is the time between two attempts to reach a daemon that is not
// there.
const retryPause = 100 * time.Millisecond

// ask has a request answered under the key that the daemon has. That is Intel's,
// unless its quoting enclave has another signer. Clients need not know: they use
// the id that they have built in, and the helper takes it.
func ask[T any](ctx context.Context, b *Backend, request func(context.Context, aesm.KeyID) (T, error)) (T, error) {
	key := b.currentKey()
	v, err := persist(ctx, b, func() (T, error) { return request(ctx, key) })
	if !errors.Is(err, aesm.CodeUnsupportedAttKeyID) {
		return v, err
	}
	selected, selectErr := persist(ctx, b, func() (aesm.KeyID, error) { return b.client.SelectKeyID(ctx) })
	if selectErr != nil {
		return v, selectErr
	}
	if selected.Base() == key.Base() || selected.Algorithm() != aesm.ECDSAP256 {
		return v, err
	}
	b.setKey(selected)
	return persist(ctx, b, func() (T, error) { return request(ctx, selected) })
}

// persist tries a request again while the daemon is not there, as long as ctx
// allows. All requests of the protocol may be repeated, but one that was taken and
// not answered only once: it may be what ends the daemon.
//
// It gives up before the deadline rather than at it, so that what is wrong is
// told while somebody still listens.
func persist[T any](ctx context.Context, b *Backend, request func() (T, error)) (T, error) {
	began := time.Now()
	taken := 0
	for {
		v, err := exchange(b, began, request)
		if errors.Is(err, aesm.ErrNoReply) {
			taken++
		}
		if !gone(err) || taken > 1 || !pause(ctx) {
			return v, err
		}
	}
}

// exchange makes one request and learns from how it goes. Began is when it was
// first tried.
func exchange[T any](b *Backend, began time.Time, request func() (T, error)) (T, error) {
	v, err := request()
	b.presence.note(began, err)
	if gone(err) || errors.Is(err, aesm.CodeAttKeyNotInitialized) {
		// With another key or other certificates, the size may be another.
		b.size.forget()
	}
	return v, err
}

// gone tells whether a request failed as it does while the daemon restarts.
func gone(err error) bool {
	return silent(err) && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, aesm.ErrNoReply))
}

// silent tells whether a request failed without any reply of the daemon.
func silent(err error) bool {
	_, is := errors.AsType[*aesm.TransportError](err)
	return is
}

// pause waits for the time of the next attempt, and tells whether there is one.
func pause(ctx context.Context) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= retryPause {
		return false
	}
	timer := time.NewTimer(retryPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
