package quotehelper

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/daemon"
)

const (
	// probeInterval is the time between two probes of the socket.
	probeInterval = 10 * time.Second
	// probeTimeout is how long a client may have to wait. Intel's waits for 15 seconds.
	probeTimeout = 5 * time.Second
)

// probe checks that a client of the socket is served, by what needs no turn.
func probe(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	client := aesm.Client{Socket: path, Probe: true}
	if _, err := client.SupportedKeyIDs(ctx); err != nil {
		return fmt.Errorf("no answer on %s: %w", path, err)
	}
	return nil
}

// probeSocket probes the socket until ctx is done, and sets its condition. It logs only
// changes.
func probeSocket(ctx context.Context, path string, owned *daemon.Condition, log *slog.Logger) {
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := probe(ctx, path)
		if ctx.Err() != nil {
			return
		}
		owned.Set(err)
		switch {
		case err != nil && !failing:
			log.Warn("probe of the socket failed", "error", err, "advice", "clients are not served in time: see the dropped connections in the log, and which peer has so many")
		case err == nil && failing:
			log.Info("socket answers again", "socket", path)
		}
		failing = err != nil
	}
}
