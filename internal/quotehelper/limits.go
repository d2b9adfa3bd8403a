package quotehelper

import (
	"fmt"
	"syscall"
)

const (
	// maxConnections is how many connections the helper has at a time, if it may open so
	// many files.
	maxConnections = 4096
	// maxProcesses is how many processes it remembers, each with a file.
	maxProcesses = 1024
	// otherFiles are for everything else: the log, HTTP, workers.
	otherFiles = 256
	// minFiles is how many files the helper must be allowed to open.
	minFiles = 256
)

// limits are what the helper takes at a time.
type limits struct{ connections, processes int }

// limitsOf returns the limits of a process that may open so many files, so that it never
// runs out of them.
func limitsOf(files uint64) (limits, error) {
	if files < minFiles {
		return limits{}, fmt.Errorf("limit of open files (RLIMIT_NOFILE): %d, must be at least %d", files, minFiles)
	}
	n := int(min(files, 1<<20))
	processes := min(maxProcesses, n/8)
	return limits{min(maxConnections, n-min(otherFiles, n/4)-processes), processes}, nil
}

// fileLimit returns how many files this process may open. At start, Go has raised that
// to the hard limit.
func fileLimit() (uint64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	return limit.Cur, nil
}
