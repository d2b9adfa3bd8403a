package quoting

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/confcom/confcom/aesm"
)

// Observer records the outcome of each connection in the log and in metrics.
//
// Each quote is a line at INFO, with its caller and its enclave. Each answer with an
// error is a line at WARN, with the layer that the error comes from, its cause and
// what to do; so is each dropped connection, unless it was a probe or idle. A peer
// gets 20 lines at WARN per second, and 100 about quotes after the first 1000: a client
// that floods the helper must not flood the node's log, whose size is limited. How many
// lines were suppressed is logged.
//
// Probes are counted apart, and logged at DEBUG: what applications see is in the other
// metrics and lines. Any client can mark requests as probes, but not those for quotes, and
// only a few: all others count as requests.
type Observer struct {
	log     *slog.Logger
	metrics *Metrics

	warnings, quotes *lineLimit
	probes           *lineLimit
	sweepAt          atomic.Int64 // when suppressed lines are reported next, in Unix nanoseconds
}

// NewObserver returns an observer of connections.
func NewObserver(log *slog.Logger, metrics *Metrics) *Observer {
	return &Observer{
		log:      log,
		metrics:  metrics,
		warnings: newLineLimit(maxWarnings, maxWarnings),
		quotes:   newLineLimit(maxQuoteLines, maxQuoteBurst),
		probes:   newLineLimit(maxProbes, maxProbeBurst),
	}
}

// Connected records a new connection.
func (o *Observer) Connected() { o.metrics.connected() }

// Ended records the outcome of a connection. It is the Observe of an aesm.Server.
func (o *Observer) Ended(ctx context.Context, e aesm.Exchange) {
	e.Probe = e.Probe && o.probes.allow(time.Now(), peerOf(e.Peer).Key())
	o.metrics.ended(e)
	defer o.sweep()
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
	level, message := slog.LevelWarn, "request failed"
	if e.Probe {
		level, message = slog.LevelDebug, "probe failed"
	} else {
		o.metrics.failed(f.Layer)
	}
	more := []slog.Attr{
		slog.Uint64("code", uint64(e.Code)), slog.String("name", e.Code.String()), slog.String("layer", string(f.Layer)),
	}
	advice := f.Advice
	if advice == "" && f.Layer != LayerClient { // there is nothing to do on the node about a client's mistake
		advice = e.Code.OperatorAdvice()
	}
	if !strings.Contains(e.Err.Error(), advice) {
		more = append(more, slog.String("advice", advice))
	}
	o.write(ctx, level, message, e, more...)
}

// write writes a line about a connection, with its peer, its request and its enclave.
func (o *Observer) write(ctx context.Context, level slog.Level, message string, e aesm.Exchange, more ...slog.Attr) {
	if !o.log.Enabled(ctx, level) {
		return
	}
	caller := peerOf(e.Peer)
	if limit := o.limit(level); limit != nil && !limit.allow(time.Now(), caller.Key()) {
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

// limit returns the limit for lines of a level, nil if there is none.
func (o *Observer) limit(level slog.Level) *lineLimit {
	switch level {
	case slog.LevelWarn:
		return o.warnings
	case slog.LevelInfo:
		return o.quotes
	}
	return nil
}

// sweep logs, once per sweepInterval, how many lines were suppressed. The lines are not
// of the peer whose exchange it is.
func (o *Observer) sweep() {
	ctx := context.Background()
	now, at := time.Now(), o.sweepAt.Load()
	if now.UnixNano() < at || !o.sweepAt.CompareAndSwap(at, now.Add(sweepInterval).UnixNano()) {
		return
	}
	for key, n := range o.warnings.sweep(now) {
		o.log.LogAttrs(ctx, slog.LevelWarn, "warnings suppressed", slog.String("peer", key), slog.Int("lines", n))
	}
	o.probes.sweep(now) // those beyond the limit were counted as requests
	for key, n := range o.quotes.sweep(now) {
		o.log.LogAttrs(ctx, slog.LevelWarn, "lines about quotes suppressed", slog.String("peer", key), slog.Int("lines", n))
	}
}
