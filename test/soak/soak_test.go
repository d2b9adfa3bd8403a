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

// What the hostile pods do, all together.
const (
	goodPod      = 0
	hostilePods  = 5 // the pods after goodPod
	totalIdle    = 10_000
	totalStalled = 1_000
	totalUnread  = 1_000
	totalFlood   = 500   // connections in a row
	spareFiles   = 1_000 // files that a process keeps for everything else

	// Without pods, all clients share the budget of one peer, 1024 connections and 256
	// queue places. These numbers leave enough of it to the good clients.
	gentleIdle    = 400
	gentleStalled = 200
	gentleUnread  = 50
	gentleFlood   = 50
)

// goodClients returns the clients that must not notice anything, by kind of request.
func goodClients() map[requestKind]int {
	return map[requestKind]int{requestOwnQuotes: 16, requestSizes: 1, requestKeys: 1, requestHalfClose: 1, requestVerified: 4}
}

// What a helper may use after the soak beyond what it used before.
const (
	// Up to 64 goroutines rest between two connections (maxResting in aesm). A few
	// belong to the runtime, and to the request for the metrics.
	moreGoroutines = 64 + 6
	// The helper has a file for each process that it remembers, here the clients of
	// this test. Go opens a few when it first needs them.
	moreFiles = hostilePods + 4 + 6
	// The memory may be moreMemory times what it was, or boundMemory bytes: the memory
	// for 4096 connections is returned to the kernel only slowly.
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

	verifier *verifier
	used     func() int64 // the most memory that the last helper has used, nil if unknown

	replacing sync.WaitGroup // the replaced helpers, until they have ended
	replaced  int
	good      map[requestKind]answers
	havoc     havoc
}

// TestSoak checks that good clients, which send requests without pause, notice neither
// hostile ones nor that the helper is replaced again and again. The last helper runs for
// much of the time, and must not use more in the end than before.
func TestSoak(t *testing.T) {
	t.Parallel()
	s := &soak{
		T: t, socket: filepath.Join(t.TempDir(), "aesm.socket"), seed: rand.Uint64(),
		good: make(map[requestKind]answers), havoc: havoc{Connections: make(map[string]int)},
	}
	var err error
	if s.pods, err = newPods(t); err != nil {
		t.Logf("REDUCED LOAD: cannot create cgroups, so hostile clients share the budget of the good ones: %v", err)
	}
	if len(recorded()) == 0 {
		t.Log("NOT RUN: mutations of recorded frames of other clients, which are not available")
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", s.seed)
		}
	})

	// For 60% of the time, helpers are replaced: a hundred times in ten minutes. The last
	// one runs for the rest of the time.
	helper := serveHelper(t, s.socket, backendSimulated, 2, s.pods.helperArgs()...)
	if s.frames, err = genuine(t.Context(), s.socket); err != nil {
		t.Fatal(err)
	}
	s.verifier = startVerifier(t)
	helper = s.replace(helper, *soakFor*6/10)
	if s.used, err = limitMemory(t, helper.Process.Pid, memoryLimit); err != nil {
		t.Logf("NOT RUN: memory limit: %v", err)
	}
	before := s.stable(helper)
	s.live(*soakFor * 4 / 10)
	after := s.stableAsBefore(helper, before)

	s.replacing.Wait()
	if n := helper.mustMetrics(t)[metricPanics]; n > 0 {
		t.Errorf("%v panics", n)
	}
	helper.terminate(t)
	if bugs := helper.bugs(); len(bugs) > 0 {
		t.Errorf("errors in the log:\n%s", strings.Join(bugs, "\n"))
	}
	if _, err := os.Lstat(s.socket); err == nil {
		t.Error("the socket file was not removed")
	}
	if bugs := s.verifier.bugs(); len(bugs) > 0 {
		t.Errorf("errors in the log of the verifier:\n%s", strings.Join(bugs, "\n"))
	}
	s.report(before, after)
}

// crowd is all running clients.
type crowd struct {
	good    *job[map[requestKind]answers]
	hostile []*job[havoc]
}

// gather starts the clients: the good ones in one pod, each hostile process in its own.
func (s *soak) gather() crowd {
	s.Helper()
	var c crowd
	c.good = s.gatherGood(0)
	for i := range hostilePods {
		c.hostile = append(c.hostile, startJob[havoc](s, roleHostile, s.pods, goodPod+1+i, s.hostileTask(i)))
	}
	return c
}

// gatherGood starts the good clients. They send so many requests of each kind, or do not
// stop if it is 0.
func (s *soak) gatherGood(requests uint64) *job[map[requestKind]answers] {
	s.Helper()
	return startJob[map[requestKind]answers](s, roleClients, s.pods, goodPod, clientsTask{
		Socket: s.socket, Groups: goodClients(), Requests: requests, Verifier: s.verifier.address,
	})
}

func (s *soak) hostileTask(i int) hostileTask {
	s.Helper()
	task := hostileTask{Socket: s.socket, Seed: s.seed + uint64(i), Frames: s.frames, Idle: totalIdle / hostilePods, Stalled: totalStalled / hostilePods, Vanished: 64, Unread: totalUnread / hostilePods,
		Flood: totalFlood / hostilePods, Gone: true, Verifier: s.verifier.address, Health: s.verifier.health, Address: byte(1 + i)}
	if s.pods == nil {
		task.Idle, task.Stalled, task.Vanished, task.Unread, task.Flood = gentleIdle/hostilePods, gentleStalled/hostilePods, 8, gentleUnread/hostilePods, gentleFlood/hostilePods
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		s.Fatal(err)
	}
	if most := max(int(limit.Max)-spareFiles, 0); task.Idle > most {
		task.Idle = most
		if i == 0 {
			s.Logf("REDUCED LOAD: a process may open %d files, so there are %d idle connections instead of %d", limit.Max, most*hostilePods, totalIdle)
		}
	}
	return task
}

// leave stops the hostile clients, then the good ones, and adds their results.
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
	c.good.stdin.Close()
	s.leaveGood(c.good)
}

// leaveGood waits for the end of the good clients, and adds their results.
func (s *soak) leaveGood(good *job[map[requestKind]answers]) {
	s.Helper()
	for what, a := range good.outcome(s) {
		if a.Failed > 0 || a.Requests == 0 {
			s.Errorf("%s: %d of %d requests failed: %v", what, a.Failed, a.Requests, a.Failures)
		}
		if a.InterruptedAfter > patience {
			s.Errorf("%s: an interrupted request had waited %s", what, a.InterruptedAfter)
		}
		sum := s.good[what]
		sum.add(a)
		s.good[what] = sum
	}
}

// replace has one helper after another take over the socket, for d, and once more when
// the clients have stopped. It returns the last helper.
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

// succeed has a new helper take over from the old one. In turns, the old one ends of its
// own accord, by a signal or, if it stands by and has finished its connections, by a kill.
func (s *soak) succeed(old *helper, standsBy bool) (live *helper, liveStandsBy bool) {
	s.Helper()
	s.replaced++
	args := append(s.pods.helperArgs(), "--takeover")
	if s.replaced%3 == 2 {
		args = append(args, "--stand-by")
		liveStandsBy = true
	}
	live = serveHelper(s, s.socket, backendSimulated, 2, args...)
	signal := !standsBy && s.replaced%3 == 1
	s.replacing.Go(func() {
		switch {
		case standsBy:
			if !old.idle() {
				s.Errorf("a replaced helper that stands by still has connections")
			}
			old.kill()
			return
		case signal:
			_ = old.Process.Signal(syscall.SIGTERM) // it may have ended
		}
		if err := old.wait(patience); err != nil {
			s.Errorf("replaced helper: %v", err)
		}
		if bugs := old.bugs(); len(bugs) > 0 {
			s.Errorf("errors in the log of a replaced helper:\n%s", strings.Join(bugs, "\n"))
		}
	})
	return live, liveStandsBy
}

// live runs all clients for d.
func (s *soak) live(d time.Duration) {
	s.Helper()
	crowd := s.gather()
	time.Sleep(d)
	s.leave(crowd)
}

// stable returns the metrics of a helper after it has served some quotes and closed all
// connections.
func (s *soak) stable(h *helper) metrics {
	s.Helper()
	const requests = 100 // of each kind
	s.leaveGood(s.gatherGood(requests))
	m, ok := h.await(patience, func(m metrics) bool { return m[metricConnections] == 0 })
	if !ok {
		s.Errorf("%v connections still open", m[metricConnections])
	}
	return m
}

// stableAsBefore waits until a helper uses no more than before, within bounds.
func (s *soak) stableAsBefore(h *helper, before metrics) metrics {
	s.Helper()
	s.stable(h) // some more requests, so that Go collects garbage
	bounds := map[string]float64{
		metricConnections: 0,
		metricGoroutines:  before[metricGoroutines] + moreGoroutines,
		metricFiles:       before[metricFiles] + moreFiles,
		metricMemory:      max(moreMemory*before[metricMemory], boundMemory),
	}
	if raceDetector {
		s.Log("NOT RUN: comparison of memory, since the race detector needs extra memory")
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
				s.Errorf("%s: %v, want at most %v; before: %v", name, m[name], bound, before[name])
			}
		}
	}
	return m
}

// report logs what happened.
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
	if s.used != nil {
		if s.used() >= memoryLimit*9/10 {
			s.Errorf("the last helper has used %d bytes of %d", s.used(), memoryLimit)
		}
		row("memory of the last helper, MiB", fmt.Sprintf("at most %d of %d", s.used()>>20, memoryLimit>>20))
	}
	for _, name := range []string{metricGoroutines, metricFiles, metricMemory} {
		row(name, fmt.Sprintf("%.0f before, %.0f after", before[name], after[name]))
	}
	s.Log(b.String())
}
