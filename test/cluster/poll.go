package main

import (
	"context"
	"fmt"
	"time"
)

// pollInterval is short against the second or two that a component takes to
// start.
const pollInterval = 100 * time.Millisecond

// poll calls check until it succeeds. When the time is up it returns the last
// error of check.
func poll(ctx context.Context, limit time.Duration, check func(context.Context) error) error {
	deadline := time.After(limit)
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline:
			return fmt.Errorf("not within %s: %w", limit, err)
		case <-ticker.C:
		}
	}
}
