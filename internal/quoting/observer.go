package quoting

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/peer"
)

// Observer tells what becomes of each connection: in the log and in metrics.
//
// Each quote is a line at INFO, with who asked for it and for which enclave.
// Each answer with an error is a line at WARN, with the layer that the error
// comes from, its cause and what to do; so is each connection that was dropped,
// unless it was a harmless one. Of one peer there are at most 20 lines at WARN
// in a second: who floods us must not flood the log, and with it the node.
type Observer struct {
	log     *slog.Logger
	metrics *Metrics
	limit   limit
}

// NewObserver returns an observer of connections.
func NewObserver(log *slog.Logger, metrics *Metrics) *Observer {
	return &Observer{log: log, metrics: metrics}
}

// Connected is to be told of each new connection.
func (o *Observer) Connected() { o.metrics.connected() }

// Ended is to be told how each connection went: the Observe of an aesm.Server.
func (o *Observer) Ended(ctx context.Context, e aesm.Exchange) {
	o.metrics.ended(e)
	if p, ok := errors.AsType[*aesm.PanicError](e.Err); ok {
		o.metrics.panicked()
		o.tell(ctx, slog.LevelError, "a bug in the quote helper: please report it", e, slog.String("stack", string(p.Stack)))
		return
	}
	switch e.Drop {
	case aesm.NotDropped:
		o.answered(ctx, e)
	case aesm.DropProbe, aesm.DropIdle, aesm.DropStopped:
		// What health checks and idle clients do is no fault.
		o.tell(ctx, slog.LevelDebug, "closed", e, slog.String("reason", e.Drop.String()))
	default:
		o.tell(ctx, slog.LevelWarn, "dropped", e, slog.String("reason", e.Drop.String()))
	}
}

func (o *Observer) answered(ctx context.Context, e aesm.Exchange) {
	if e.Code == aesm.CodeSuccess {
		level, what := slog.LevelDebug, "answered"
		if e.Report != nil {
			level, what = slog.LevelInfo, "quote"
		}
		o.tell(ctx, level, what, e)
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
	o.tell(ctx, slog.LevelWarn, "refused", e, more...)
}

// tell writes a line about a connection, with who and what it was about.
func (o *Observer) tell(ctx context.Context, level slog.Level, what string, e aesm.Exchange, more ...slog.Attr) {
	if !o.log.Enabled(ctx, level) {
		return
	}
	caller := peerOf(e.Peer)
	if level == slog.LevelWarn && !o.allowed(ctx, caller) {
		return
	}
	// Not by the methods of the logger, which find out for each line where in the
	// code it comes from, for nobody.
	line := slog.NewRecord(time.Now(), level, what, 0)
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
	_ = o.log.Handler().Handle(ctx, line) // as loggers do
}

// maxWarnings is how many lines at WARN there are of one peer in a second.
const maxWarnings = 20

// allowed counts a line about a peer, and whether it may be written. It tells of
// those that were not, once the second is over.
func (o *Observer) allowed(ctx context.Context, caller peer.Peer) bool {
	ok, leftOut := o.limit.count(time.Now(), caller.Key())
	for key, n := range leftOut {
		o.log.LogAttrs(ctx, slog.LevelWarn, "lines were left out, since there were too many like them: the metrics have counted all",
			slog.String("peer", key), slog.Int("lines", n))
	}
	return ok
}

// limit counts lines of the current second.
type limit struct {
	mu     sync.Mutex
	second int64
	lines  map[string]int // by peer
}

// count counts a line and tells whether it is one of the first of its peer in
// this second. When a second is over, it also returns how many there were too
// many.
func (l *limit) count(now time.Time, key string) (ok bool, leftOut map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if second := now.Unix(); second != l.second || l.lines == nil {
		for key, n := range l.lines {
			if n > maxWarnings {
				if leftOut == nil {
					leftOut = make(map[string]int)
				}
				leftOut[key] = n - maxWarnings
			}
		}
		l.second, l.lines = second, make(map[string]int)
	}
	l.lines[key]++
	return l.lines[key] <= maxWarnings, leftOut
}
