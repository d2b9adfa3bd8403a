package peer

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// maxCgroups is how many cgroups an index remembers.
	maxCgroups = 4096
	// scanInterval is the time between two scans of all processes, and scanShare bounds
	// their part of all time.
	scanInterval = time.Second
	scanShare    = 50
	// idleScanInterval is that time if there was nothing to find, as with cgroup v1.
	idleScanInterval = time.Minute
	// scanPatience bounds the wait for a scan. Other callers wait as well meanwhile.
	scanPatience = 10 * time.Millisecond
)

// index knows the pods and containers of cgroups by the IDs of the cgroups (v2), which
// are never reused. Linux 6.16 and newer still know the cgroup of a process that has
// ended, but only by its ID.
type index struct {
	procfs string
	layout layout

	scan sync.WaitGroup // the scan that is running

	mu       sync.Mutex
	places   map[uint64]place
	scanning bool
	closed   bool      // no more scans
	next     time.Time // no scan before
}

// place is where a process runs.
type place struct{ pod, container string }

func newIndex(procfs string, l layout) *index {
	return &index{procfs: procfs, layout: l, places: make(map[uint64]place)}
}

// close ends a scan that is running, and lets no other one begin.
func (x *index) close() {
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	x.scan.Wait()
}

func (x *index) isClosed() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.closed
}

// learn remembers the cgroup of a living process, given its pidfd and the text of its
// cgroup file.
func (x *index) learn(pidfd int, text string) {
	var p place
	if p.pod, p.container = x.layout.parse(unified(text)); p == (place{}) {
		return
	}
	id, ok := cgroupID(pidfd)
	if !ok || ended(pidfd) {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.keep(id, p)
}

// keep remembers a place. If there are too many, it forgets any one.
func (x *index) keep(id uint64, p place) {
	if _, known := x.places[id]; !known && len(x.places) >= maxCgroups {
		for other := range x.places {
			delete(x.places, other)
			break
		}
	}
	x.places[id] = p
}

// find returns where a process ran that has ended, given its pidfd. If nobody of its
// cgroup has been seen, all processes are looked at, but not often; find waits for that
// only for a moment.
func (x *index) find(pidfd int) (place, bool) {
	id, ok := cgroupID(pidfd)
	if !ok {
		return place{}, false
	}
	p, ok, scanned := x.place(id)
	if scanned == nil {
		return p, ok
	}
	timer := time.NewTimer(scanPatience)
	defer timer.Stop()
	select {
	case <-scanned:
	case <-timer.C:
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	p, ok = x.places[id]
	return p, ok
}

// place returns the place with an ID. If it is unknown, place may start a scan, and returns
// a channel that is closed at its end.
func (x *index) place(id uint64) (p place, ok bool, scanned <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p, ok = x.places[id]; ok || x.scanning || x.closed || time.Now().Before(x.next) {
		return p, ok, nil
	}
	x.scanning = true
	done := make(chan struct{})
	x.scan.Go(func() {
		defer close(done)
		start := time.Now()
		interval := scanInterval
		if x.scanAll() == 0 {
			interval = idleScanInterval
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		x.scanning = false
		x.next = time.Now().Add(max(interval, scanShare*time.Since(start)))
	})
	return p, false, done
}

// scanAll remembers the cgroups of all processes, and returns how many of the processes
// are in a pod or container.
func (x *index) scanAll() (n int) {
	dir, err := os.Open(x.procfs)
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what was read before an error is as good
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if x.isClosed() {
			return n
		}
		if x.look(pid) {
			n++
		}
	}
	return n
}

// look remembers the cgroup of a process, and reports whether the process is in a pod or
// container.
func (x *index) look(pid int) bool {
	file := filepath.Join(x.procfs, strconv.Itoa(pid), "cgroup")
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	var p place
	if p.pod, p.container = x.layout.parse(unified(string(text))); p == (place{}) {
		return false
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(pidfd)
	// The path is that of this process only if the ID was not reused meanwhile.
	again, err := os.ReadFile(file)
	id, ok := cgroupID(pidfd)
	if !ok || err != nil || string(again) != string(text) || ended(pidfd) {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.keep(id, p)
	return true
}

// cgroupID returns the ID of the cgroup (v2) of a process, which may have ended.
func cgroupID(pidfd int) (uint64, bool) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_CGROUPID | unix.PIDFD_INFO_EXIT}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
	return info.Cgroupid, errno == 0 && info.Mask&unix.PIDFD_INFO_CGROUPID != 0
}
