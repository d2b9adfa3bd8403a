package quoting

import (
	"context"
	"log/slog"

	"github.com/confcom/confcom/aesm"
)

// Log returns an observer for an aesm.Server that writes what went wrong, a
// line each: WARN for replies with an error code and for requests that were
// dropped, DEBUG for all else.
func Log(log *slog.Logger) func(context.Context, aesm.Exchange) {
	return func(ctx context.Context, e aesm.Exchange) {
		attrs := []slog.Attr{slog.String("request", e.Kind.String()), slog.Duration("duration", e.Duration)}
		if e.Err != nil {
			attrs = append(attrs, slog.String("error", e.Err.Error()))
		}
		switch e.Drop {
		case aesm.NotDropped:
			level := slog.LevelDebug
			if e.Code != aesm.CodeSuccess {
				level = slog.LevelWarn
			}
			log.LogAttrs(ctx, level, "answered", append(attrs, slog.Uint64("code", uint64(e.Code)), slog.String("name", e.Code.String()))...)
		case aesm.DropProbe, aesm.DropIdle, aesm.DropStopped:
			// What health checks and idle clients do is no fault.
			log.LogAttrs(ctx, slog.LevelDebug, "closed", append(attrs, slog.String("reason", e.Drop.String()))...)
		default:
			log.LogAttrs(ctx, slog.LevelWarn, "dropped", append(attrs, slog.String("reason", e.Drop.String()))...)
		}
	}
}
