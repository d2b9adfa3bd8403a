package quoting

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/peer"
)

// Observer records the outcome of each connection in the log and in metrics.
//
// Each quote is a line at INFO, with its caller and its enclave. Each answer with an
// error is a line at WARN, with the layer that the error comes from, its cause and
// what to do; so is each dropped connection, unless it was a probe or idle. A peer
// gets 20 lines at WARN per second: a client that floods the helper must not
// flood the node's log.
type Observer struct {
	log     *slog.Logger
	metrics *Metrics
	limit   warningLimit
}

// NewObserver returns an observer of connections.
func NewObserver(log *slog.Logger, metrics *Metrics) *Observer {
	return &Observer{log: log, metrics: metrics}
}

// Connected records a new connection.
func (o *Observer) Connected() { o.metrics.connected() }

// Ended records the outcome of a connection. It is the Observe of an aesm.Server.
func (o *Observer) Ended(ctx context.Context, e aesm.Exchange) {
	o.metrics.ended(e)
	if p, ok := errors.AsType[*aesm.PanicError](e.Err); ok {
		o.metrics.panicked()
		o.write(ctx, slog.LevelError, "panic in the quote helper: please report this bug", e, slog.String("stack", string(p.Stack)))
		return
	}
	switch e.Drop {
	case aesm.NotDropped:
		o.answered(ctx, e)
	case aesm.DropProbe, aesm.DropIdle, aesm.DropStopped:
		// Health checks and idle clients cause these.
		o.write(ctx, slog.LevelDebug, "closed", e, slog.String("reason", e.Drop.String()))
	default:
		o.write(ctx, slog.LevelWarn, "dropped", e, slog.String("reason", e.Drop.String()))
	}
}

func (o *Observer) answered(ctx context.Context, e aesm.Exchange) {
	if e.Code == aesm.CodeSuccess {
		level, message := slog.LevelDebug, "answered"
		if e.Report != nil {
			level, message = slog.LevelInfo, "quote"
		}
		o.write(ctx, level, message, e)
		return
	}
	f := failureOf(e.Code, e.Err)
	o.metrics.failed(f.Layer)
	more := []slog.Attr{
		slog.Uint64("code", uint64(e.Code)), slog.String("name", e.Code.String()), slog.String("layer", string(f.Layer)),
	}
	if advice := cmp.Or(f.Advice, e.Code.Advice()); !strings.Contains(e.Err.Error(), advice) {
		more = append(more, slog.String("advice", advice))
	}
	o.write(ctx, slog.LevelWarn, "request failed", e, more...)
}

// write writes a line about a connection, with its peer, its request and its enclave.
func (o *Observer) write(ctx context.Context, level slog.Level, message string, e aesm.Exchange, more ...slog.Attr) {
	if !o.log.Enabled(ctx, level) {
		return
	}
	caller := peerOf(e.Peer)
	if level == slog.LevelWarn && !o.mayWarn(ctx, caller) {
		return
	}
	// The logger's own methods would look up the source position of each line, which
	// the handler does not print.
	line := slog.NewRecord(time.Now(), level, message, 0)
	line.AddAttrs(slog.String("request", e.Kind.String()), slog.Attr{Key: "peer", Value: caller.LogValue()})
	if e.Report != nil {
		line.AddAttrs(
			slog.String("mrenclave", e.Report.Body.MREnclave.String()),
			slog.String("mrsigner", e.Report.Body.MRSigner.String()))
	}
	line.AddAttrs(slog.Duration("duration", e.Duration))
	if e.Err != nil {
		line.AddAttrs(slog.String("error", e.Err.Error()))
	}
	line.AddAttrs(more...)
	_ = o.log.Handler().Handle(ctx, line) // a logger ignores this error too
}

// mayWarn reports whether a warning about a peer may be written. It logs how many
// warnings were suppressed before.
func (o *Observer) mayWarn(ctx context.Context, caller peer.Peer) bool {
	ok, suppressed := o.limit.allow(time.Now(), caller.Key())
	for key, n := range suppressed {
		o.log.LogAttrs(ctx, slog.LevelWarn, "warnings suppressed", slog.String("peer", key), slog.Int("lines", n))
	}
	return ok
}
