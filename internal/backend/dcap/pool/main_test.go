package pool

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// worker is one whose life the test decides.
type worker struct {
	generation string
	ended      chan struct{}
	end        func()
	finished   bool // asked to end
	stubborn   bool // does not end when it is asked to
}

func newWorker(generation string) *worker {
	w := &worker{generation: generation, ended: make(chan struct{})}
	w.end = sync.OnceFunc(func() { close(w.ended) })
	return w
}

func (w *worker) Ended() <-chan struct{} { return w.ended }
func (w *worker) Kill()                  { w.end() }

func (w *worker) Finish() {
	w.finished = true
	if !w.stubborn {
		w.end()
	}
}

// started is the worker as its supervisor returns it.
func (w *worker) started() Worker[string, *worker] {
	return Worker[string, *worker]{Session: w, Process: w, Generation: w.generation}
}

// isGone reports whether the worker has ended.
func (w *worker) isGone() bool {
	select {
	case <-w.ended:
		return true
	default:
		return false
	}
}

type (
	testPool  = Pool[string, *worker]
	testLease = Lease[string, *worker]
	candidate = Candidate[string]
)

func anyWorker(candidate) bool { return true }

func current(c candidate) bool { return !c.Draining }

// not returns a function that accepts all workers but one.
func not(id ID) func(candidate) bool { return func(c candidate) bool { return c.ID != id } }

// take leases a worker that should be idle.
func take(t *testing.T, p *testPool, accept func(candidate) bool) *testLease {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l, err := p.Take(ctx, accept)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// isIdle reports whether a caller with no time gets a worker.
func isIdle(p *testPool, accept func(candidate) bool) bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l, err := p.Take(ctx, accept)
	if err == nil {
		l.Return()
	}
	return err == nil
}

// supervisor is one whose decisions the test makes.
type supervisor struct {
	mu         sync.Mutex
	generation string
	err        error // of Start
	reason     string
	starts     []time.Time
	replacing  []string
	workers    []*worker
	checks     int
	ended      int
	replaced   int
}

func (s *supervisor) Start(_ context.Context, replacing string) (Worker[string, *worker], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts = append(s.starts, time.Now())
	s.replacing = append(s.replacing, replacing)
	if s.err != nil {
		return Worker[string, *worker]{}, s.err
	}
	w := newWorker(s.generation)
	s.workers = append(s.workers, w)
	if replacing != "" {
		s.reason = ""
		s.replaced++
	}
	return w.started(), nil
}

func (s *supervisor) Outdated() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

func (s *supervisor) Check(context.Context, *testLease) { s.locked(func() { s.checks++ }) }
func (s *supervisor) Ended()                            { s.locked(func() { s.ended++ }) }

func (s *supervisor) locked(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// last returns the newest worker.
func (s *supervisor) last() *worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.workers[len(s.workers)-1]
}

// outdate makes the workers outdated, of the given generation.
func (s *supervisor) outdate(reason, generation string) {
	s.locked(func() { s.reason, s.generation = reason, generation })
}

// gaps returns the times between starts, and forgets the starts.
func (s *supervisor) gaps() (gaps []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 1; i < len(s.starts); i++ {
		gaps = append(gaps, s.starts[i].Sub(s.starts[i-1]))
	}
	s.starts = s.starts[max(len(s.starts)-1, 0):]
	return gaps
}

// pass lets time pass, and all that happens in it.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

const finishTimeout = 3 * time.Second

// run runs a test with a pool of workers in a bubble of time.
func run(t *testing.T, places int, test func(t *testing.T, p *testPool, s []*supervisor)) {
	synctest.Test(t, func(t *testing.T) {
		var supervisors []*supervisor
		p := Start(Options{Places: places, PollInterval: time.Second, FinishTimeout: finishTimeout}, func(place int) Supervisor[string, *worker] {
			if place != len(supervisors) {
				t.Errorf("place %d, want %d", place, len(supervisors))
			}
			supervisors = append(supervisors, new(supervisor))
			return supervisors[place]
		})
		defer func() {
			p.Close()
			for _, s := range supervisors {
				for _, w := range s.workers {
					if !w.isGone() {
						t.Error("a worker outlives the pool")
					}
				}
			}
		}()
		synctest.Wait()
		test(t, p, supervisors)
	})
}

// expectGaps checks that the gaps are those, give or take a part.
func expectGaps(t *testing.T, got []time.Duration, jitter float64, want ...time.Duration) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(a, b time.Duration) bool {
		return (a - b).Abs() <= time.Duration(jitter*float64(b))
	}) {
		t.Errorf("got %v, want %v", got, want)
	}
}
