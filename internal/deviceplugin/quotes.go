package deviceplugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxQuoteWait bounds the wait for quotes. It is shorter than the 30 seconds that
	// the kubelet waits for the plugin, after which it would not start the container.
	maxQuoteWait = 25 * time.Second
	// quotePollInterval is the time between two looks at the AESM socket.
	quotePollInterval = 200 * time.Millisecond
)

// QuoteWait delays the start of containers that are given the AESM directory until a
// daemon listens on the socket there. Some runtimes of enclaves give up attestation for
// good if they start before the daemon, as they do on a node that has just booted.
//
// The quote helper does not wait for itself: its resource gives it devices but not the AESM
// directory.
//
// The wait ends after Timeout, and the container starts: not all that use EPC attest, and
// a node without quotes must not keep them down.
//
// The plugin asks the kubelet for the call before each start only if nobody listens when
// it registers, so on a node that has just booted, and not for the rest of its life. With
// the call, the kubelet starts no container of the resource while the plugin is away, and
// none at all whose devices it has forgotten with its checkpoint. So what the call
// protects from must be likelier than what it costs.
type QuoteWait struct {
	Timeout time.Duration // 0 for no wait
}

// quoteWait is the wait for quotes of one resource's containers.
type quoteWait struct {
	QuoteWait
	socket string // the AESM socket
	log    *slog.Logger
}

// quoteWait returns the wait of the containers of a resource, or nil if they do not wait.
func (p *Plugin) quoteWait(log *slog.Logger) *quoteWait {
	if p.QuoteWait.Timeout == 0 || p.Grant.AESMDir == "" {
		return nil
	}
	return &quoteWait{p.QuoteWait, filepath.Join(p.Grant.AESMDir, "aesm.socket"), log}
}

// served reports whether a daemon listens on the AESM socket.
func (q *quoteWait) served(ctx context.Context) bool {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "unix", q.socket)
	if err == nil {
		conn.Close()
	}
	return err == nil || errors.Is(err, syscall.EAGAIN) // so many connect that the backlog is full
}

// wait waits until a daemon listens on the AESM socket or the time is up. It
// returns an error, so that the kubelet tries again, if stopping is closed or ctx is done.
func (q *quoteWait) wait(ctx context.Context, stopping <-chan struct{}) error {
	if q.served(ctx) {
		return nil
	}
	began := time.Now()
	timeout := time.NewTimer(q.Timeout)
	defer timeout.Stop()
	q.log.Info("container waits for the quote helper", "socket", q.socket)
	poll := time.NewTicker(quotePollInterval)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-stopping:
			return status.Error(codes.Unavailable, "the plugin is stopping")
		case <-timeout.C:
			q.log.Warn("no quote helper, starting the container without", "socket", q.socket, "waited", q.Timeout)
			return nil
		case <-poll.C:
		}
		if q.served(ctx) {
			q.log.Info("quote helper is there, starting the container", "waited", time.Since(began).Round(time.Millisecond))
			return nil
		}
	}
}

// check rejects settings that cannot work.
func (w QuoteWait) check() error {
	if w.Timeout < 0 || w.Timeout > maxQuoteWait {
		return fmt.Errorf("wait for quotes of %s: not between 0 and %s; the kubelet waits for 30s and then fails to start the container", w.Timeout, maxQuoteWait)
	}
	return nil
}
