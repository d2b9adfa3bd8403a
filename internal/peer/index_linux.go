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
)

// index knows the pods and containers of cgroups by the IDs of the cgroups (v2), which
// are never reused. Linux 6.16 and newer still know the cgroup of a process that has
// ended, but only by its ID.
type index struct {
	procfs string
	layout layout

	mu     sync.Mutex
	places map[uint64]place
	next   time.Time // no scan before
}

// place is where a process runs.
type place struct{ pod, container string }

func newIndex(procfs string, l layout) *index {
	return &index{procfs: procfs, layout: l, places: make(map[uint64]place)}
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
// cgroup has been seen, it looks at all processes, but not often.
func (x *index) find(pidfd int) (place, bool) {
	id, ok := cgroupID(pidfd)
	if !ok {
		return place{}, false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if p, ok := x.places[id]; ok {
		return p, true
	}
	if start := time.Now(); start.After(x.next) {
		interval := scanInterval
		if x.scan() == 0 {
			interval = idleScanInterval
		}
		x.next = time.Now().Add(max(interval, scanShare*time.Since(start)))
	}
	p, ok := x.places[id]
	return p, ok
}

// scan remembers the cgroups of all processes, and returns how many of the processes
// are in a pod or container.
func (x *index) scan() (n int) {
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
		text, err := os.ReadFile(filepath.Join(x.procfs, name, "cgroup"))
		if err != nil {
			continue
		}
		var p place
		if p.pod, p.container = x.layout.parse(unified(string(text))); p == (place{}) {
			continue
		}
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		// The path is that of this process only if the ID was not reused meanwhile.
		again, err := os.ReadFile(filepath.Join(x.procfs, name, "cgroup"))
		if id, ok := cgroupID(pidfd); ok && err == nil && string(again) == string(text) && !ended(pidfd) {
			x.keep(id, p)
			n++
		}
		unix.Close(pidfd)
	}
	return n
}

// cgroupID returns the ID of the cgroup (v2) of a process, which may have ended.
func cgroupID(pidfd int) (uint64, bool) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_CGROUPID | unix.PIDFD_INFO_EXIT}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
	return info.Cgroupid, errno == 0 && info.Mask&unix.PIDFD_INFO_CGROUPID != 0
}
