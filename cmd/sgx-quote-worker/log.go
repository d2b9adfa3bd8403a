//go:build cgo

package main

import (
	"context"
	"log/slog"

	"github.com/confcom/confcom/internal/backend/dcap/ql"
)

// logTo returns a function that writes the libraries' log to log, and the level up to
// which they should log.
func logTo(log *slog.Logger) (func(ql.Level, string), ql.Level) {
	to := func(level ql.Level, text string) {
		switch level {
		case ql.LevelError:
			log.Warn("Intel library", "text", text) // many of its errors are harmless
		case ql.LevelInfo:
			log.Info("Intel library", "text", text)
		default:
			log.Debug("Intel library", "text", text)
		}
	}
	if log.Enabled(context.Background(), slog.LevelDebug) {
		return to, ql.LevelDebug
	}
	return to, ql.LevelError
}
