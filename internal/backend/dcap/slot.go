package dcap

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	// lookInterval is the time between two looks at a worker's memory and files.
	lookInterval = time.Second
	// healthInterval is how long a worker may rest before it is asked whether it
	// could still quote.
	healthInterval = 10 * time.Second
	// elderTime is how long a worker with another target is kept for the reports
	// that were made for it.
	elderTime = 5 * time.Second

	// The pauses before a worker that keeps ending is started again. The first time
	// there is none.
	minPause = 200 * time.Millisecond
	maxPause = 30 * time.Second
	// settled is how long a worker has to live for its end to be the first again.
	settled = 10 * time.Second
)

// slot is the place of one worker.
type slot struct {
	*Backend
	number int
	log    *slog.Logger
	files  files  // that its last worker was loaded from
	told   string // why no worker has started, as the log has it already
}

// run has a worker in its place until ctx is done.
func (s *slot) run(ctx context.Context) {
	pause := backOff{}
	for ctx.Err() == nil {
		w, err := s.start(ctx)
		if err != nil {
			s.startFailed(ctx, err)
			pause.wait(ctx)
			continue
		}
		began := time.Now()
		s.enter(w)
		s.keep(ctx, w)
		if time.Since(began) > settled {
			pause = backOff{}
		}
		pause.wait(ctx)
	}
}

func (s *slot) startFailed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.metrics.ended(endStart)
	if text := err.Error(); text != s.told {
		s.log.Warn("worker does not start, and is tried again", "error", err)
		s.told = text
	}
	s.pool.fail(s.number, &startFailure{err})
}

// enter makes a worker known.
func (s *slot) enter(w *worker) {
	s.files, s.told = w.files, ""
	s.learn(w)
	s.pool.add(w)
}

// keep watches over a worker, and over those that replace it, until one is gone
// or ctx is done.
func (s *slot) keep(ctx context.Context, w *worker) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	var due renewal
	for {
		select {
		case <-ctx.Done():
			s.pool.remove(w)
			w.kill(endStopped)
			<-w.ended
			return
		case <-w.ended:
			s.pool.remove(w)
			why, text := w.how()
			s.metrics.ended(why)
			s.log.Warn("worker has ended", "pid", w.cmd.Process.Pid, "reason", text)
			return
		case <-tick.C:
			s.checkHealth(ctx, w)
			if why, yes := due.when(s, w); yes {
				if next := s.renew(ctx, w, why); next != nil {
					w, due = next, renewal{}
				} else {
					due.failed()
				}
			}
		}
	}
}

// checkHealth asks a worker that nobody has asked for a while.
func (s *slot) checkHealth(ctx context.Context, w *worker) {
	if !s.pool.takeThis(w) {
		return
	}
	defer s.release(w)
	if time.Since(w.asked) < healthInterval {
		return
	}
	err := s.refresh(ctx, w)
	if err != nil && ctx.Err() == nil {
		w.log.Warn("worker is not well", "error", err)
		s.judge(w, new(attempts), err)
	}
}

// renew replaces a worker that still works, once the new one can quote. It returns
// nil where that cannot.
func (s *slot) renew(ctx context.Context, old *worker, why end) *worker {
	select {
	case s.renewing <- struct{}{}:
		defer func() { <-s.renewing }()
	case <-old.ended:
		return nil
	case <-ctx.Done():
		return nil
	}
	next, err := s.start(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.metrics.ended(endStart)
			s.log.Warn("worker should be replaced, but the new one does not start: the old one goes on", "reason", why, "error", err)
		}
		return nil
	}
	s.enter(next)
	s.metrics.ended(why)
	s.log.Info("worker was replaced", "reason", why, "old", old.cmd.Process.Pid, "new", next.cmd.Process.Pid)
	s.retire(ctx, old, next)
	return next
}

// retire ends a worker after its request. If reports for its target are no good
// for the next one, it stays for a while for those that were made already.
func (s *slot) retire(ctx context.Context, old, next *worker) {
	s.slots.Go(func() {
		if next.target != old.target && s.pool.elect(old) {
			timer := time.NewTimer(elderTime)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-old.ended:
			case <-ctx.Done():
			}
		}
		if s.pool.remove(old) {
			old.finish()
		}
		select {
		case <-old.ended:
		case <-ctx.Done():
		case <-time.After(s.Timeout + time.Second):
		}
		old.kill(endStopped)
		<-old.ended
	})
}

// backOff is the pause between two starts of a worker.
type backOff struct{ next time.Duration }

// wait waits: not at all the first time, and then twice as long each time, give or
// take a quarter, so that workers do not all start at once.
func (b *backOff) wait(ctx context.Context) {
	pause := b.next
	b.next = min(max(2*b.next, minPause), maxPause)
	if pause == 0 {
		return
	}
	timer := time.NewTimer(pause*3/4 + rand.N(pause/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// startFailure is why there is no worker.
type startFailure struct{ err error }

func (f *startFailure) Error() string { return "no worker is ready: " + f.err.Error() }
func (f *startFailure) Unwrap() error { return f.err }
