package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/confcom/confcom/internal/qcnl"
)

// lint logs what is wrong with the configuration of Intel's provider, which itself
// reports nothing.
func lint(path string, log *slog.Logger) {
	const check = "confcom doctor --check=configuration"
	text, err := os.ReadFile(path)
	if err != nil {
		log.Warn("read quote provider configuration failed", "error", err, "advice", "Intel's provider uses a PCCS on this machine by default; run "+check)
		return
	}
	_, findings := qcnl.Parse(text)
	for _, f := range findings {
		level := slog.LevelWarn
		if f.Severity == qcnl.Note {
			level = slog.LevelInfo
		}
		log.Log(context.Background(), level, "check quote provider configuration", "file", path, "line", f.Line, "finding", f.Text, "advice", f.Remedy+" ("+check+")")
	}
}
