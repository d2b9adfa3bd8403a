package soak

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// How hostile the hostile pods are together.
const (
	goodPod      = 0
	hostilePods  = 5 // the pods after that
	totalIdle    = 10_000
	totalStalled = 1_000
	spareFiles   = 1_000 // that a process keeps for everything else

	// Where there are no pods, all clients share what one peer may have, 1024
	// connections and 256 places in the queue. So much the hostile ones leave.
	gentleIdle    = 400
	gentleStalled = 200
)

// goodClients are the clients that must not notice anything, and what they ask.
func goodClients() map[asking]int {
	return map[asking]int{askOwnQuotes: 16, askSizes: 1, askKeys: 1, askHalf: 1}
}

// What a helper may have more of after the soak than before it.
const (
	// moreGoroutines: up to 64 rest between two connections (maxResting in aesm).
	// The few others are those of the runtime and of this question.
	moreGoroutines = 64 + 6
	// moreFiles: one for each process that it remembers, which are the clients of
	// this test, and the few that Go opens when it first needs them.
	moreFiles = hostilePods + 4 + 6
	// moreMemory times as much, or boundMemory bytes: what it has needed for 4096
	// connections goes back to the kernel only slowly.
	moreMemory  = 1.5
	boundMemory = 128 << 20
)

// soak is a run of TestSoak.
type soak struct {
	*testing.T
	socket string
	pods   *pods
	seed   uint64
	frames [][]byte // for the hostile clients

	replacing sync.WaitGroup // the helpers that were replaced and are about to end
	replaced  int
	good      map[asking]answers
	havoc     havoc
}

// TestSoak has good clients ask without pause, of whom none may notice what
// hostile ones do and that the helper is replaced again and again. The last
// helper lives through a good part of that, and must be left as it was.
func TestSoak(t *testing.T) {
	t.Parallel()
	s := &soak{
		T: t, socket: filepath.Join(t.TempDir(), "aesm.socket"), seed: rand.Uint64(),
		good: make(map[asking]answers), havoc: havoc{Connections: make(map[string]int)},
	}
	var err error
	if s.pods, err = newPods(t); err != nil {
		t.Logf("LESS HOSTILE THAN IT SHOULD BE: without cgroups, the hostile clients share the budget of the good ones: %v", err)
	}
	if len(recorded()) == 0 {
		t.Log("NOT MUTATED: the recorded frames of other clients, which are not here")
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", s.seed)
		}
	})

	// More than half of the time the helper is replaced, a hundred times in ten
	// minutes. Then it lives.
	helper := serveHelper(t, s.socket, platformSimulated, 2)
	if s.frames, err = genuine(t.Context(), s.socket); err != nil {
		t.Fatal(err)
	}
	helper = s.replace(helper, *soakFor*6/10)
	before := s.settled(helper)
	s.live(*soakFor * 4 / 10)
	after := s.settledLike(helper, before)

	s.replacing.Wait()
	if n := helper.mustMetrics(t)[metricPanics]; n > 0 {
		t.Errorf("%v panics", n)
	}
	helper.terminate(t)
	if bugs := helper.bugs(); len(bugs) > 0 {
		t.Errorf("in its log:\n%s", strings.Join(bugs, "\n"))
	}
	if _, err := os.Lstat(s.socket); err == nil {
		t.Error("the socket file is left")
	}
	s.report(before, after)
}

// crowd are the clients at work.
type crowd struct {
	good    *job[map[asking]answers]
	hostile []*job[havoc]
}

// gather starts the clients: the good ones in a pod, each hostile one in its own.
func (s *soak) gather() crowd {
	s.Helper()
	var c crowd
	c.good = s.gatherGood()
	for i := range hostilePods {
		c.hostile = append(c.hostile, startJob[havoc](s, roleHostile, s.pods, goodPod+1+i, s.hostileTask(i)))
	}
	return c
}

func (s *soak) gatherGood() *job[map[asking]answers] {
	return startJob[map[asking]answers](s, roleClients, s.pods, goodPod, clientsTask{Socket: s.socket, Groups: goodClients()})
}

func (s *soak) hostileTask(i int) hostileTask {
	s.Helper()
	task := hostileTask{Socket: s.socket, Seed: s.seed + uint64(i), Frames: s.frames, Idle: totalIdle / hostilePods, Stalled: totalStalled / hostilePods, Vanished: 64}
	if s.pods == nil {
		task.Idle, task.Stalled, task.Vanished = gentleIdle/hostilePods, gentleStalled/hostilePods, 8
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		s.Fatal(err)
	}
	if most := max(int(limit.Max)-spareFiles, 0); task.Idle > most {
		task.Idle = most
		if i == 0 {
			s.Logf("LESS HOSTILE THAN IT SHOULD BE: a process has %d files at most, so there are %d idle connections and not %d", limit.Max, most*hostilePods, totalIdle)
		}
	}
	return task
}

// leave stops the hostile clients, then the good ones, and keeps what came of it.
func (s *soak) leave(c crowd) {
	s.Helper()
	for _, h := range c.hostile {
		h.stdin.Close() // all at once
	}
	for _, h := range c.hostile {
		havoc := h.outcome(s)
		for kind, n := range havoc.Connections {
			s.havoc.Connections[kind] += n
		}
		for _, fault := range havoc.Faults {
			s.Errorf("a hostile client: %s", fault)
		}
	}
	s.leaveGood(c.good)
}

func (s *soak) leaveGood(good *job[map[asking]answers]) {
	s.Helper()
	for what, a := range good.stop(s) {
		if a.Failed > 0 || a.Requests == 0 {
			s.Errorf("%s: %d of %d requests failed: %v", what, a.Failed, a.Requests, a.Failures)
		}
		if a.InterruptedAfter > patience {
			s.Errorf("%s: a request has waited for %s", what, a.InterruptedAfter)
		}
		sum := s.good[what]
		sum.add(a)
		s.good[what] = sum
	}
}

// replace has one helper after another take the socket over, for this long, and
// once more when all is quiet. It returns the last one.
func (s *soak) replace(live *helper, d time.Duration) *helper {
	s.Helper()
	crowd := s.gather()
	end := time.Now().Add(d)
	interval := min(d/4, 10*time.Minute*6/10/100)
	standsBy := false
	for next := time.Now(); time.Now().Before(end); {
		next = next.Add(interval)
		live, standsBy = s.succeed(live, standsBy)
		time.Sleep(time.Until(next))
	}
	s.leave(crowd)
	live, _ = s.succeed(live, standsBy)
	return live
}

// succeed has a new helper take over from the live one, whose end is, in turns,
// its own decision, a signal, or, when it has served all and stands by, a kill.
func (s *soak) succeed(old *helper, standsBy bool) (live *helper, liveStandsBy bool) {
	s.Helper()
	s.replaced++
	args := []string{"--takeover"}
	if s.replaced%3 == 2 {
		args = append(args, "--stand-by")
		liveStandsBy = true
	}
	live = serveHelper(s, s.socket, platformSimulated, 2, args...)
	signal := !standsBy && s.replaced%3 == 1
	s.replacing.Go(func() {
		switch {
		case standsBy:
			if !old.idle() {
				s.Errorf("the helper that was replaced and stands by still has connections")
			}
			old.kill()
			return
		case signal:
			_ = old.Process.Signal(syscall.SIGTERM) // it may have ended
		}
		if err := old.wait(patience); err != nil {
			s.Errorf("the helper that was replaced: %v", err)
		}
		if bugs := old.bugs(); len(bugs) > 0 {
			s.Errorf("in the log of a helper that was replaced:\n%s", strings.Join(bugs, "\n"))
		}
	})
	return live, liveStandsBy
}

// live has all clients at work for this long.
func (s *soak) live(d time.Duration) {
	s.Helper()
	crowd := s.gather()
	time.Sleep(d)
	s.leave(crowd)
}

// settled is what a helper has once it has served some quotes and has no
// connection any more.
func (s *soak) settled(h *helper) metrics {
	s.Helper()
	good := s.gatherGood()
	time.Sleep(500 * time.Millisecond)
	s.leaveGood(good)
	m, ok := h.await(patience, func(m metrics) bool { return m[metricConnections] == 0 })
	if !ok {
		s.Errorf("%v connections are left", m[metricConnections])
	}
	return m
}

// settledLike waits until a helper has no more than it had before, within bounds.
func (s *soak) settledLike(h *helper, before metrics) metrics {
	s.Helper()
	s.settled(h) // it has a little to do after the hostile ones, so that Go collects garbage
	bounds := map[string]float64{
		metricConnections: 0,
		metricGoroutines:  before[metricGoroutines] + moreGoroutines,
		metricFiles:       before[metricFiles] + moreFiles,
		metricMemory:      max(moreMemory*before[metricMemory], boundMemory),
	}
	if raceDetector {
		s.Log("NOT COMPARED: memory, of which the race detector takes its own")
		delete(bounds, metricMemory)
	}
	m, ok := h.await(patience, func(m metrics) bool {
		for name, bound := range bounds {
			if m[name] > bound {
				return false
			}
		}
		return true
	})
	if !ok {
		for name, bound := range bounds {
			if m[name] > bound {
				s.Errorf("%s is %v, was %v before, and may be %v", name, m[name], before[name], bound)
			}
		}
	}
	return m
}

// report tells what was borne.
func (s *soak) report(before, after metrics) {
	var b strings.Builder
	row := func(what string, value any) { fmt.Fprintf(&b, "  %-34s %v\n", what, value) }
	fmt.Fprintf(&b, "soaked for %s\n", *soakFor)
	for _, what := range slices.Sorted(maps.Keys(s.good)) {
		a := s.good[what]
		row(string(what)+": requests", a.Requests)
		row("  errors", a.Failed)
		row("  99th percentile, longest", fmt.Sprint(a.P99, ", ", a.Max))
	}
	for _, kind := range slices.Sorted(maps.Keys(s.havoc.Connections)) {
		row("hostile: "+kind, s.havoc.Connections[kind])
	}
	row("replacements", s.replaced)
	for _, name := range []string{metricGoroutines, metricFiles, metricMemory} {
		row(name, fmt.Sprintf("%.0f before, %.0f after", before[name], after[name]))
	}
	s.Log(b.String())
}
