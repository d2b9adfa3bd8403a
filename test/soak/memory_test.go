package soak

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// memoryLimit is the default memory limit of the quote helper in the chart.
const memoryLimit = 256 << 20

// TestMemoryLimit checks that the helper stays below the memory limit of the chart, in a
// real cgroup, while pods hold as many of the worst connections as they can. A good
// client notices nothing. The kernel's memory for replies that nobody reads counts.
func TestMemoryLimit(t *testing.T) {
	pods, err := newPods(t)
	if err != nil {
		t.Skipf("NOT RUN: memory limit: cannot create cgroups: %v", err)
	}
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	helper := serveHelper(t, socket, backendSimulated, 2, pods.helperArgs()...)
	used, err := limitMemory(t, helper.Process.Pid, memoryLimit)
	if err != nil {
		t.Skipf("NOT RUN: memory limit: %v", err)
	}
	frames, err := genuine(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	const pod, each = 1, 2000 // more than a pod can have
	var hostile []*job[havoc]
	for i := range 8 {
		h := startJob[havoc](t, roleHostile, pods, pod+i, hostileTask{Socket: socket, Frames: frames, Seed: uint64(i), Unread: each, Stalled: each / 2})
		yieldProcessor(t, h.Process.Pid)
		hostile = append(hostile, h)
	}
	good := startJob[map[requestKind]answers](t, roleClients, pods, goodPod, clientsTask{
		Socket: socket, Groups: map[requestKind]int{requestOwnQuotes: 2}, Duration: 3 * time.Second,
	}).outcome(t)[requestOwnQuotes]
	for _, h := range hostile {
		h.stdin.Close()
	}
	for _, h := range hostile {
		if faults := h.outcome(t).Faults; len(faults) > 0 {
			t.Errorf("hostile clients: %s", strings.Join(faults, "\n"))
		}
	}
	t.Logf("the helper has used up to %d MiB of %d; %d quotes, the longest took %s", used()>>20, memoryLimit>>20, good.Requests, good.Max)
	if good.Failed > 0 || good.Requests == 0 {
		t.Errorf("%d of %d requests failed: %v", good.Failed, good.Requests, good.Failures)
	}
	if used() >= memoryLimit*9/10 {
		t.Errorf("the helper has used %d bytes of %d", used(), memoryLimit)
	}
	helper.terminate(t)
}

// yieldProcessor has a process use the processor only when others do not. On a node, each
// pod has a share of the processors; here eight busy processes would leave a seventh of one
// to the helper, and its clients would measure only that.
func yieldProcessor(t *testing.T, pid int) {
	t.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // later ones inherit it
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err == nil {
			err = syscall.Setpriority(syscall.PRIO_PROCESS, id, 19)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// limitMemory moves a process into a memory cgroup with a limit, and returns a function
// that returns the most that was used. The error is why that cannot be done.
func limitMemory(t *testing.T, pid int, limit int64) (used func() int64, err error) {
	t.Helper()
	if raceDetector {
		return nil, errors.New("the race detector needs extra memory")
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		mount, fileSystem, _ := strings.Cut(line, " - ")
		root := strings.Fields(mount)[4]
		limitFile, usedFile := "memory.max", "memory.peak"
		switch {
		case strings.HasPrefix(fileSystem, "cgroup2"):
			if enabled, _ := os.ReadFile(filepath.Join(root, "cgroup.subtree_control")); !bytes.Contains(enabled, []byte("memory")) {
				continue
			}
		case strings.HasPrefix(fileSystem, "cgroup ") && strings.HasSuffix(strings.TrimSpace(fileSystem), "memory"):
			limitFile, usedFile = "memory.limit_in_bytes", "memory.max_usage_in_bytes"
		default:
			continue
		}
		dir, err := os.MkdirTemp(root, "confcom-memory-")
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			for deadline := time.Now().Add(patience); os.Remove(dir) != nil && time.Now().Before(deadline); {
				time.Sleep(10 * time.Millisecond) // until the process has ended
			}
		})
		for _, setting := range []struct {
			file  string
			value int64
		}{{limitFile, limit}, {"cgroup.procs", int64(pid)}} {
			if err := os.WriteFile(filepath.Join(dir, setting.file), fmt.Append(nil, setting.value), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return func() (n int64) {
			text, err := os.ReadFile(filepath.Join(dir, usedFile))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Sscan(string(text), &n); err != nil {
				t.Fatal(err)
			}
			return n
		}, nil
	}
	return nil, errors.New("no memory cgroups")
}
