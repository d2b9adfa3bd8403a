package pool

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A worker that ends is started again: at once, then with pauses that double, and
// at once again after one that was stable.
func TestRestart(t *testing.T) {
	run(t, 1, func(t *testing.T, p *testPool, s []*supervisor) {
		for range 5 {
			s[0].last().end()
			synctest.Wait()
			for p.Len() == 0 {
				pass(time.Millisecond)
			}
		}
		expectGaps(t, s[0].gaps(), 0.26, 0, minRestart, 2*minRestart, 4*minRestart, 8*minRestart)
		pass(stable + time.Second)
		s[0].gaps()
		ended := time.Now()
		s[0].last().end()
		synctest.Wait()
		if p.Len() != 1 || time.Since(ended) != 0 {
			t.Error("a stable worker is not started again at once")
		}
		if s[0].ended != 6 {
			t.Errorf("%d workers ended, want 6", s[0].ended)
		}
	})
}

// Starts that fail are tried again, ever more seldom, and callers learn why.
func TestStartFails(t *testing.T) {
	run(t, 1, func(t *testing.T, p *testPool, s []*supervisor) {
		s[0].locked(func() { s[0].err = errors.New("no library") })
		s[0].last().end()
		synctest.Wait()
		if _, err := p.Take(t.Context(), anyWorker); err == nil || err.Error() != "no worker could be started: no library" {
			t.Errorf("got %v", err)
		}
		pass(10 * time.Minute)
		gaps := s[0].gaps()
		expectGaps(t, gaps[:4], 0.26, 0, minRestart, 2*minRestart, 4*minRestart)
		if last := gaps[len(gaps)-1]; last < maxRestart*3/4 || last > maxRestart*5/4+time.Second {
			t.Errorf("the last pause is %s, want %s", last, maxRestart)
		}
		s[0].locked(func() { s[0].err = nil })
		l, err := p.Take(t.Context(), anyWorker)
		for ; err != nil; l, err = p.Take(t.Context(), anyWorker) {
			pass(time.Second)
		}
		l.Return()
	})
}

// Workers are replaced one place after the other, by workers that are ready, and
// finish their request first.
func TestReplace(t *testing.T) {
	run(t, 3, func(t *testing.T, p *testPool, s []*supervisor) {
		lease := take(t, p, anyWorker)
		old := lease.Session()
		for _, s := range s {
			s.outdate("update", "")
		}
		most := 0
		for range 4000 {
			pass(time.Millisecond)
			most = max(most, p.Len())
			if p.Len() < 3 {
				t.Fatalf("%d workers, want 3 at least", p.Len())
			}
		}
		for i, s := range s {
			if s.replaced != 1 || !slices.Equal(s.replacing, []string{"", "update"}) || s.ended != 0 {
				t.Errorf("place %d: %d replaced, started for %q, %d ended", i, s.replaced, s.replacing, s.ended)
			}
		}
		if p.Len() != 3 || most > 4 {
			t.Errorf("%d workers, at most %d; want 3 and 4", p.Len(), most)
		}
		if lease.IsCurrent() {
			t.Error("a worker that was replaced is current")
		}
		lease.Return()
		if !old.finished {
			t.Error("a worker that was replaced does not finish")
		}
	})
}

// A worker that was replaced and does not end is killed.
func TestFinishTimeout(t *testing.T) {
	run(t, 1, func(t *testing.T, p *testPool, s []*supervisor) {
		lease := take(t, p, anyWorker)
		s[0].outdate("memory", "")
		pass(time.Second + finishTimeout - time.Millisecond)
		if p.Len() != 1 || lease.Session().isGone() {
			t.Error("it was not replaced, or it has ended too early")
		}
		pass(time.Millisecond)
		if !lease.Session().isGone() {
			t.Error("it was not killed")
		}
	})
}

// A replacement that does not start leaves the old worker in its place. It is tried
// again after a while, or as soon as there is a new reason.
func TestReplaceFails(t *testing.T) {
	run(t, 1, func(t *testing.T, p *testPool, s []*supervisor) {
		s[0].locked(func() { s[0].err, s[0].reason = errors.New("no library"), "update" })
		pass(time.Minute)
		// Polls are a second apart.
		expectGaps(t, s[0].gaps()[1:], 0.26, minReplace, 2*minReplace, 4*minReplace)
		if p.Len() != 1 || !isIdle(p, anyWorker) || s[0].ended != 0 {
			t.Error("the old worker is gone")
		}
		s[0].locked(func() { s[0].err, s[0].reason = nil, "" })
		pass(2 * time.Second)
		s[0].outdate("update", "")
		pass(2 * time.Second)
		if s[0].replaced != 1 {
			t.Error("a new reason has to wait")
		}
	})
}

// One worker of the previous generation is retained, for callers that accept it.
func TestRetain(t *testing.T) {
	run(t, 2, func(t *testing.T, p *testPool, s []*supervisor) {
		old := []*worker{s[0].last(), s[1].last()}
		for _, s := range s {
			s.outdate("update", "new")
		}
		pass(3 * time.Second)
		isOld := func(c candidate) bool { return c.Generation == "" }
		if p.Len() != 3 || old[0].isGone() == old[1].isGone() {
			t.Errorf("%d workers, want 3 with an old one", p.Len())
		}
		if !isIdle(p, isOld) || isIdle(p, func(c candidate) bool { return current(c) && isOld(c) }) {
			t.Error("the old worker is not draining")
		}
		lease := take(t, p, isOld)
		if lease.IsCurrent() {
			t.Error("a draining worker is current")
		}
		lease.Return()
		pass(retainTime)
		if p.Len() != 2 || !old[0].isGone() || !old[1].isGone() {
			t.Error("the old worker is still there")
		}
		if _, err := p.Take(t.Context(), isOld); !errors.Is(err, ErrUnsatisfiable) {
			t.Errorf("got %v, want %v", err, ErrUnsatisfiable)
		}
	})
}

// Only idle workers are checked.
func TestCheck(t *testing.T) {
	run(t, 1, func(t *testing.T, p *testPool, s []*supervisor) {
		pass(2500 * time.Millisecond)
		if s[0].checks != 2 {
			t.Errorf("%d checks, want 2", s[0].checks)
		}
		lease := take(t, p, anyWorker)
		pass(2 * time.Second)
		if s[0].checks != 2 {
			t.Error("a leased worker was checked")
		}
		lease.Return()
	})
}
