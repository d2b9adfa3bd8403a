package dcap

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/confcom/confcom/internal/backend/dcap/pool"
	"github.com/confcom/confcom/sgx"
)

const (
	// startTimeout is how long a worker may take until it can quote. It may have to
	// wait for the network.
	startTimeout = 60 * time.Second
	// healthInterval is how long a worker may be idle before its health is checked.
	healthInterval = 10 * time.Second
)

// supervisor starts and watches the workers of one place.
type supervisor struct {
	backend *Backend
	place   int
	log     *slog.Logger

	process   *process // the newest
	loaded    files    // the files that it was loaded from
	seen      files    // the same files at the last poll
	overLimit bool     // its memory has exceeded the limit
	lastError string   // of Start, as it was logged
}

// Start starts a worker process and returns when it can quote.
func (s *supervisor) Start(ctx context.Context, replacing string) (pool.Worker[sgx.TargetInfo, *session], error) {
	w, took, err := s.start(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return w, err
	case err != nil:
		s.backend.metrics.ended(reasonStart)
		if replacing != "" {
			s.log.Warn("replace worker failed", "reason", replacing, "error", err)
		} else if text := err.Error(); text != s.lastError {
			s.log.Warn("start worker failed", "error", err)
			s.lastError = text
		}
		return w, err
	}
	old := s.process
	s.process, s.overLimit, s.lastError = w.Session.process, false, ""
	s.backend.learn(s.place, w.Session.identity)
	s.backend.metrics.started(took)
	s.log.Info("worker is ready", "pid", s.process.pid(), "mrenclave", w.Generation.MREnclave.String(), "duration", took)
	if replacing != "" {
		s.backend.metrics.ended(reason(replacing))
		s.log.Info("worker was replaced", "reason", replacing, "old", old.pid(), "new", s.process.pid())
	}
	return w, nil
}

func (s *supervisor) start(ctx context.Context) (w pool.Worker[sgx.TargetInfo, *session], took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	began := time.Now()
	before := s.loaded.poll()
	p, err := startProcess(s.backend.config, s.log)
	if err != nil {
		return w, 0, err
	}
	first := &session{process: p, place: s.place, timeout: startTimeout}
	if err := first.initialize(ctx); err != nil {
		p.endStart(ctx, err)
		return w, 0, p.startError(err)
	}
	first.timeout = s.backend.config.Timeout
	s.loaded = filesOf(p.pid(), s.backend.config.QCNL).startingFrom(before)
	w = pool.Worker[sgx.TargetInfo, *session]{Session: first, Process: p, Generation: first.identity.TargetInfo}
	return w, time.Since(began), nil
}

// Outdated returns why the worker should be replaced, or "". Files that have changed
// must be the same at two polls, as a package is not installed at once. A worker whose
// memory has exceeded the limit once is replaced, even if it shrinks.
func (s *supervisor) Outdated() string {
	now := s.loaded.poll()
	changed, stable := !now.equal(s.loaded), now.equal(s.seen)
	s.seen = now
	limit := s.backend.config.MemoryLimit
	s.overLimit = s.overLimit || limit > 0 && residentMemory(s.process.pid()) > limit
	switch {
	case changed && stable:
		return string(reasonUpdate)
	case !changed && s.overLimit:
		return string(reasonMemory)
	}
	return ""
}

// Check has a worker that was idle for a while initialize its key again.
func (s *supervisor) Check(ctx context.Context, l *lease) {
	if time.Since(l.Session().asked) < healthInterval {
		return
	}
	if err := s.backend.refresh(ctx, l); err != nil && ctx.Err() == nil {
		s.log.Warn("check worker failed", "error", err)
		s.backend.assess(l, new(attempts), err)
	}
}

// Ended logs and counts the end of the worker.
func (s *supervisor) Ended() {
	why, description := s.process.end()
	s.backend.metrics.ended(why)
	s.log.Warn("worker ended", "pid", s.process.pid(), "reason", description)
}

// residentMemory returns how much memory of a process is resident, in bytes, or 0 if
// the kernel does not say.
func residentMemory(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}
