package main

import (
	"context"
	"fmt"
	"time"
)

// pollInterval is short compared to the second or two in which a component starts.
const pollInterval = 100 * time.Millisecond

// poll calls check until it succeeds. After limit it returns the last error of check.
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
			return fmt.Errorf("timed out after %s: %w", limit, err)
		case <-ticker.C:
		}
	}
}
