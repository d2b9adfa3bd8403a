package upstream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/quoting"
)

const seeLog = "see the log of the upstream daemon"

// failure translates an error of the client. began is when the backend was called.
func (b *Backend) failure(began time.Time, err error) *quoting.Failure {
	if refusal, ok := errors.AsType[*aesm.Error](err); ok {
		return b.refused(refusal)
	}
	if transport, ok := errors.AsType[*aesm.TransportError](err); ok {
		return b.unanswered(began, transport)
	}
	return &quoting.Failure{
		Layer:  quoting.LayerBackend,
		Code:   aesm.CodeUnexpected,
		Err:    err,
		Advice: "check that the upstream socket is that of an AESM daemon, of release 2.6 or later",
	}
}

// refused translates a code of the daemon. Err does not repeat the code's advice,
// which the Failure gives.
func (b *Backend) refused(e *aesm.Error) *quoting.Failure {
	f := &quoting.Failure{
		Layer: quoting.LayerOf(e.Code),
		Code:  e.Code,
		Err:   fmt.Errorf("the daemon behind %s answered %s with %s (%d)", b.client.Socket, e.Op, e.Code.String(), uint32(e.Code)),
	}
	switch e.Code {
	case aesm.CodeUnexpected, aesm.CodeKeyCertification, aesm.CodeThread, aesm.CodePubKeyIDMismatch, aesm.CodeUnsupportedLoadingPolicy:
		// Their own advice points to the log of the helper, which has nothing more.
		f.Advice = seeLog
	case aesm.CodeUnsupportedAttKeyID:
		f.Advice = "the daemon has no ECDSA-P256 key: check that its packages libsgx-aesm-quote-ex-plugin, libsgx-aesm-ecdsa-plugin and " +
			"libsgx-aesm-pce-plugin are installed, and in its log that it has loaded its quoting enclave"
	default:
		if e.Code.OperatorAdvice() == "" {
			f.Advice = seeLog
		}
	}
	return f
}

// unanswered translates the error of a request without a reply.
func (b *Backend) unanswered(began time.Time, e *aesm.TransportError) *quoting.Failure {
	f := &quoting.Failure{Layer: quoting.LayerBackend, Code: aesm.CodeServiceUnavailable}
	socket := b.client.Socket
	switch {
	case errors.Is(e, context.DeadlineExceeded):
		f.Code = aesm.CodeBusy
		f.Err = fmt.Errorf("the daemon behind %s has not answered %s within %s: %w", socket, e.Op, time.Since(began).Round(time.Millisecond), e.Err)
		f.Advice = "the daemon serves one request at a time, and may be waiting for its certificate service: see its log, and try again"
	case errors.Is(e, context.Canceled):
		// The helper stops and has exceeded its drain timeout.
		f.Code = aesm.CodeServiceStopped
		f.Err = fmt.Errorf("%s to the daemon behind %s was cancelled: %w", e.Op, socket, e.Err)
	case errors.Is(e, fs.ErrNotExist), errors.Is(e, syscall.ECONNREFUSED):
		f.Err = fmt.Errorf("no daemon is listening on %s: %w", socket, e.Err)
		f.Advice = "check that aesmd is running and listens on this socket, and that the directory of the socket, not the file, " +
			"is mounted into the helper's pod"
	case errors.Is(e, aesm.ErrNoReply):
		f.Err = fmt.Errorf("%s to %s: %w", e.Op, socket, e.Err)
		f.Advice = "the daemon crashes, restarts, or does not know this kind of request: see its log"
	case errors.Is(e, fs.ErrPermission):
		f.Err = fmt.Errorf("the helper has no permission to connect to %s: %w", socket, e.Err)
		f.Advice = "the socket needs mode 0777, and its directory 0755"
	default:
		f.Err = fmt.Errorf("%s to %s: %w", e.Op, socket, e.Err)
		f.Advice = "check that an AESM daemon is running and listens on the upstream socket"
	}
	return f
}
