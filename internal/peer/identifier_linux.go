package peer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxKnown is how many processes an Identifier remembers by default. Fewer processes of a
// node use the quote helper at a time.
const maxKnown = 1024

// Identifier identifies peers. It remembers processes, since most connect often. Its
// methods may be called from several goroutines at once.
type Identifier struct {
	log       *slog.Logger
	procfs    string                                    // where the proc file system is mounted
	openPidfd func(syscall.RawConn, int32) (int, error) // openPidfd, except in tests
	max       int                                       // how many processes are remembered
	freshness time.Duration                             // how long a process seen alive is not checked again

	locator  *Locator
	index    *index
	seesNode bool // this process sees the processes of the node

	invisible, unreadable sync.Once // each logs its warning once

	mu     sync.Mutex
	known  map[int32]*process // by process ID
	closed bool
}

// process is a remembered process. Its pidfd refers to this process even after
// another one has been given its ID.
type process struct {
	peer  Peer
	pidfd int
	seen  time.Time // when it was last seen alive
}

// freshness is the default of Identifier.freshness. The ID cannot have been reused by
// then: Linux reuses an ID only after all others, and starting that many processes
// takes longer.
const freshness = 5 * time.Millisecond

// Options configure an Identifier. The zero Options have good defaults.
type Options struct {
	// KubeletCgroup is the cgroup below which the kubelet creates those of pods. If it is
	// empty, it is learnt from the cgroup of this process; outside any pod, it is
	// /kubepods or /kubepods.slice.
	KubeletCgroup string
	// PodLogs is the directory with the logs of the node's pods, whose directories have
	// the names of the pods. If it is empty, only their UIDs are known.
	PodLogs string
	// MaxProcesses is how many processes are remembered, each with a file descriptor; 0
	// means 1024.
	MaxProcesses int
}

// NewIdentifier returns an Identifier that logs once what keeps it from
// distinguishing pods. It must be closed after use.
func NewIdentifier(log *slog.Logger, o Options) *Identifier {
	const procfs = "/proc"
	own, _ := os.ReadFile(procfs + "/self/cgroup") // without it, nothing is learnt
	first, _ := os.ReadFile(procfs + "/1/cgroup")
	l := NewLocator(procfs, o.KubeletCgroup, o.PodLogs)
	return &Identifier{
		log:       log,
		procfs:    procfs,
		locator:   l,
		index:     newIndex(procfs, l.layout),
		seesNode:  l.layout.seesNode(string(own), string(first)),
		openPidfd: openPidfd,
		max:       cmp.Or(o.MaxProcesses, maxKnown),
		freshness: freshness,
		known:     make(map[int32]*process),
	}
}

// Close forgets all processes. Identify still works afterwards, but remembers none.
func (i *Identifier) Close() {
	i.index.close()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	for pid := range i.known {
		i.forget(pid)
	}
}

// Identify returns the process that made the connection conn, even if another process
// uses the connection by now. It never fails: unknown fields are left empty, and the
// peer of anything but a unix socket is the zero Peer.
//
// A process that has ended is still identified by its cgroup on Linux 6.16 and newer, if
// another process of the container is alive or has been seen. Otherwise it is
// unidentified, as is one whose cgroup cannot be read. So is a process of a PID namespace
// that is not visible, unless no process of the node is visible. All of these share one
// key: a pod could otherwise pose as any number of users, each with its own budget.
func (i *Identifier) Identify(conn net.Conn) Peer {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return Peer{}
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return Peer{}
	}
	p, ok := credentials(raw)
	if !ok {
		return Peer{}
	}
	if p.Process == 0 {
		return i.hidden(p)
	}
	if known, ok := i.recall(p); ok {
		return known
	}
	return i.examine(raw, p)
}

// hidden returns p, whose PID namespace is not visible.
func (i *Identifier) hidden(p Peer) Peer {
	advice := "run the quote helper with hostPID; until then, such callers are distinguished only by user"
	if i.seesNode {
		advice = "run the quote helper in the PID namespace of the node; other callers are identified, and such ones share one small budget"
	}
	i.invisible.Do(func() {
		i.log.Warn("caller's PID namespace is not visible: cannot identify its pod", "uid", p.User, "advice", advice)
	})
	if i.seesNode {
		return p.unidentified()
	}
	return p.keyed()
}

// credentials returns the user and the process that connected, as the kernel recorded
// them. There are none if the socket is not a unix socket or is closed.
func credentials(raw syscall.RawConn) (Peer, bool) {
	var cred *unix.Ucred
	var err error
	controlErr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	// Sockets of other families accept this option, and return no user.
	if controlErr != nil || err != nil || cred.Uid == math.MaxUint32 {
		return Peer{}, false
	}
	return Peer{User: cred.Uid, Process: cred.Pid}, true
}

// examine reads the cgroup of p and remembers its pod. The cgroup is that of the
// process that the pidfd refers to if that process is still alive afterwards: until it
// ends, its ID is not reused.
func (i *Identifier) examine(raw syscall.RawConn, p Peer) Peer {
	pidfd, err := i.openPidfd(raw, p.Process)
	switch {
	case errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM):
		// Linux before 5.3 has no pidfds, or a seccomp profile forbids them.
		return i.examineByID(p)
	case err != nil: // the process has ended, or too many files are open
		return p.unidentified()
	}

	text, err := os.ReadFile(i.procFile(p.Process, "cgroup"))
	if ended(pidfd) {
		defer unix.Close(pidfd)
		place, ok := i.index.find(pidfd)
		if !ok {
			return p.unidentified()
		}
		p.Pod, p.Container = place.pod, place.container
		return i.locator.named(p).keyed()
	}
	if err != nil {
		unix.Close(pidfd)
		i.unreadable.Do(func() {
			i.log.Warn("cannot read the cgroup of a caller: cannot identify its pod", "error", err,
				"advice", "the quote helper's proc file system must show the processes of the node (hostPID, no hidepid), and SELinux or AppArmor must allow reading it; until then, such callers share one small budget")
		})
		return p.unidentified()
	}
	p = i.locator.Locate(p, string(text))
	i.index.learn(pidfd, string(text))
	i.remember(&process{peer: p, pidfd: pidfd, seen: time.Now()})
	return p
}

// examineByID is examine without pidfds. It remembers nothing. The cgroup is that of one
// process if the process with this ID has started at the same time before and after. It may
// have started after the connection was made only if all other IDs were used meanwhile.
func (i *Identifier) examineByID(p Peer) Peer {
	before, err := i.startTime(p.Process)
	if err != nil {
		return p.unidentified()
	}
	text, err := os.ReadFile(i.procFile(p.Process, "cgroup"))
	if err != nil {
		return p.unidentified()
	}
	if after, err := i.startTime(p.Process); err != nil || after != before {
		return p.unidentified()
	}
	return i.locator.Locate(p, string(text))
}

// startTime returns when a process has started, in the form of /proc/PID/stat. It is an
// error if the process has ended.
func (i *Identifier) startTime(pid int32) (string, error) {
	text, err := os.ReadFile(i.procFile(pid, "stat"))
	if err != nil {
		return "", err
	}
	// The name, in parentheses, may contain anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const state, starttime = 0, 19
	if len(fields) <= starttime {
		return "", fmt.Errorf("process %d: stat has %d fields after the name", pid, len(fields))
	}
	if fields[state] == "Z" || fields[state] == "X" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	return fields[starttime], nil
}

func (i *Identifier) procFile(pid int32, name string) string {
	return filepath.Join(i.procfs, strconv.Itoa(int(pid)), name)
}

// openPidfd opens a pidfd of the process that connected. The error is ESRCH if that
// process has ended. Linux 6.5 and newer take the process from the connection; on
// older versions it is the process that has the ID now.
func openPidfd(raw syscall.RawConn, pid int32) (int, error) {
	var pidfd int
	var err error
	controlErr := raw.Control(func(fd uintptr) {
		pidfd, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	})
	if controlErr != nil {
		return -1, controlErr
	}
	if errors.Is(err, unix.ENOPROTOOPT) {
		pidfd, err = unix.PidfdOpen(int(pid), 0)
	}
	if errors.Is(err, unix.EINVAL) { // what Linux returns for a process that was waited for
		err = unix.ESRCH
	}
	return pidfd, err
}

// ended reports whether the process of a pidfd has ended. A process that has ended but
// was not waited for keeps its ID; it counts as ended too.
//
// ended polls the pidfd instead of sending signal 0, which needs permission to send
// signals: SELinux and AppArmor would log each refusal, and a refusal by seccomp would
// look like a process that is alive.
func ended(pidfd int) bool {
	fds := [...]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds[:], 0)
		if err != unix.EINTR {
			return n != 0 || err != nil
		}
	}
}

// recall returns what is remembered of the process that p names, if it is still alive
// and has the same user. A process never changes its pod.
//
// One gap remains. If a process ended before its connection was identified, and another
// process with the same ID has connected in the meantime, the connection is attributed
// to the other process. Linux reuses an ID only after all others.
func (i *Identifier) recall(p Peer) (Peer, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	known, ok := i.known[p.Process]
	if !ok {
		return Peer{}, false
	}
	if now := time.Now(); known.peer.User == p.User && now.Sub(known.seen) < i.freshness {
		return known.peer, true
	} else if known.peer.User == p.User && !ended(known.pidfd) {
		known.seen = now
		return known.peer, true
	}
	i.forget(p.Process)
	return Peer{}, false
}

// remember keeps a process and takes over its pidfd. If there are too many processes,
// it forgets any one: finding one that has ended would mean polling all of them, and
// forgetting one costs no more than examining it again.
func (i *Identifier) remember(new *process) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		unix.Close(new.pidfd)
		return
	}
	i.forget(new.peer.Process) // two of its connections may be examined at once
	for pid := range i.known {
		if len(i.known) < i.max {
			break
		}
		i.forget(pid)
	}
	i.known[new.peer.Process] = new
}

func (i *Identifier) forget(pid int32) {
	if known, ok := i.known[pid]; ok {
		unix.Close(known.pidfd)
		delete(i.known, pid)
	}
}
