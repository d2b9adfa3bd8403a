package deviceplugin

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// newQuoteWait returns a wait for a socket that does not exist yet.
func newQuoteWait(t *testing.T) *quoteWait {
	return &quoteWait{
		QuoteWait: QuoteWait{Timeout: 20 * time.Second},
		socket:    filepath.Join(t.TempDir(), "aesm.socket"),
		log:       slog.New(slog.DiscardHandler),
	}
}

// serveSocket listens on the AESM socket, or does so no longer and leaves the file.
func serveSocket(t *testing.T, path string) (stop func()) {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	t.Cleanup(func() { listener.Close() })
	return func() { listener.Close() }
}

func TestWaitForQuotes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		edit   func(t *testing.T, q *quoteWait, stop, cancel func())
		waited time.Duration
		code   codes.Code
	}{
		{"served", func(t *testing.T, q *quoteWait, _, _ func()) { serveSocket(t, q.socket) }, 0, codes.OK},
		{"served later", func(t *testing.T, q *quoteWait, _, _ func()) {
			time.AfterFunc(3*time.Second-time.Millisecond, func() { serveSocket(t, q.socket) })
		}, 3 * time.Second, codes.OK},
		{"never served", func(*testing.T, *quoteWait, func(), func()) {}, 20 * time.Second, codes.OK},
		{"daemon is dead", func(t *testing.T, q *quoteWait, _, _ func()) { serveSocket(t, q.socket)() }, 20 * time.Second, codes.OK},
		{"plugin stops", func(_ *testing.T, _ *quoteWait, stop, _ func()) { time.AfterFunc(time.Second, stop) }, time.Second, codes.Unavailable},
		{"kubelet hangs up", func(_ *testing.T, _ *quoteWait, _, cancel func()) { time.AfterFunc(time.Second, cancel) }, time.Second, codes.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQuoteWait(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				stopping := make(chan struct{})
				tt.edit(t, q, func() { close(stopping) }, cancel)
				began := time.Now()
				err := q.wait(ctx, stopping)
				if waited := time.Since(began); waited != tt.waited || status.Code(err) != tt.code {
					t.Errorf("waited %s, want %s; error %v, want code %s", waited, tt.waited, err, tt.code)
				}
			})
		})
	}
}
