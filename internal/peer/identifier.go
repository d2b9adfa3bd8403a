package peer

import (
	"errors"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxKnown is how many processes an Identifier remembers, with a file descriptor
// for each. A node has fewer that quote at a time.
const maxKnown = 1024

// Identifier tells peers. It remembers processes, since one quotes often. Its
// methods may be called from several goroutines at once.
type Identifier struct {
	log       *slog.Logger
	procfs    string                                    // where the proc file system is
	openPidfd func(syscall.RawConn, int32) (int, error) // as the function of that name
	max       int                                       // how many processes are remembered
	freshness time.Duration                             // how long a process that was still there is not asked again

	invisible, unreadable sync.Once // whether each was said

	mu     sync.Mutex
	known  map[int32]*process // by process ID
	closed bool
}

// process is one that is remembered. Its pidfd stands for this very process,
// also when another one has got its ID.
type process struct {
	peer  Peer
	pidfd int
	seen  time.Time // when it was still there
}

// freshness is that of all identifiers. No other process can have got the ID by
// then: Linux gives an ID again only after all others, and it takes longer to
// start so many processes.
const freshness = 5 * time.Millisecond

// NewIdentifier returns an Identifier that logs, once, what keeps it from
// telling pods apart. It has to be closed after use.
func NewIdentifier(log *slog.Logger) *Identifier {
	return &Identifier{
		log:       log,
		procfs:    "/proc",
		openPidfd: openPidfd,
		max:       maxKnown,
		freshness: freshness,
		known:     make(map[int32]*process),
	}
}

// Close forgets all processes. Identify works on, but remembers none any more.
func (i *Identifier) Close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	for pid := range i.known {
		i.forget(pid)
	}
}

// Identify tells who is at the other end of conn: the process that connected,
// whoever uses the connection by now. It never fails. What cannot be found out
// is left empty, and the peer of anything but a unix socket is the zero Peer.
//
// A process that has ended shares its key with all such, whoever they were: a pod
// could make itself any number of users otherwise, each with a budget of its own.
// No client that waits for its reply is among them.
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
		i.invisible.Do(func() {
			i.log.Warn("callers are in PID namespaces that are not visible from here, so they are told apart by user only: run the quote helper with hostPID to tell their pods apart", "uid", p.User)
		})
		return p.keyed()
	}
	if known, ok := i.recall(p); ok {
		return known
	}
	return i.look(raw, p)
}

// credentials are the user and the process that connected, as the kernel noted
// them. There are none where the socket is no unix socket, or is closed.
func credentials(raw syscall.RawConn) (Peer, bool) {
	var cred *unix.Ucred
	var err error
	controlErr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	// Other sockets have this option too; it says that there is no user.
	if controlErr != nil || err != nil || cred.Uid == math.MaxUint32 {
		return Peer{}, false
	}
	return Peer{User: cred.Uid, Process: cred.Pid}, true
}

// look reads which pod p is in, and remembers it. What is read is of the process
// that its pidfd stands for, if that one is still there afterwards: until it
// ends, no other process gets its ID.
func (i *Identifier) look(raw syscall.RawConn, p Peer) Peer {
	pidfd, pidfdErr := i.openPidfd(raw, p.Process)
	switch {
	case errors.Is(pidfdErr, unix.ESRCH):
		return p.unidentified()
	case pidfdErr != nil:
		// There are no pidfds before Linux 5.3, a seccomp profile may forbid them,
		// or there may be too many files. Then nothing is remembered, and in the
		// moment since the connection was made, the ID may have changed hands.
		text, err := os.ReadFile(i.cgroupFile(p.Process))
		if err != nil {
			return p.unidentified()
		}
		p.Pod, p.Container = parseCgroup(string(text))
		return p.keyed()
	}

	text, err := os.ReadFile(i.cgroupFile(p.Process))
	if ended(pidfd) {
		unix.Close(pidfd)
		return p.unidentified()
	}
	if err != nil {
		unix.Close(pidfd)
		i.unreadable.Do(func() {
			i.log.Warn("cannot read the cgroup of a caller, so such callers are told apart by user only: the proc file system of the quote helper must show the processes of the node (hostPID, no hidepid), and SELinux or AppArmor must let it read them", "error", err)
		})
		return p.unidentified()
	}
	p.Pod, p.Container = parseCgroup(string(text))
	p = p.keyed()
	i.remember(&process{peer: p, pidfd: pidfd, seen: time.Now()})
	return p
}

func (i *Identifier) cgroupFile(pid int32) string {
	return filepath.Join(i.procfs, strconv.Itoa(int(pid)), "cgroup")
}

// openPidfd opens a pidfd of the process that connected. The error is ESRCH when
// it has ended. Before Linux 6.5, which can tell from the connection, the process
// that has the ID now is taken for it.
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
	if errors.Is(err, unix.EINVAL) { // what Linux says of a process that was waited for
		err = unix.ESRCH
	}
	return pidfd, err
}

// ended tells whether the process of a pidfd has ended. One that has, but was
// not waited for, keeps its ID; it counts as ended all the same.
//
// A pidfd is polled and not sent signal 0, as that needs the permission to send
// signals: SELinux and AppArmor would write each refusal into the audit log, and
// one by seccomp would look like a process that is there.
func ended(pidfd int) bool {
	fds := [...]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds[:], 0)
		if err != unix.EINTR {
			return n != 0 || err != nil
		}
	}
}

// recall returns what is remembered of the process that p names, if it is still
// there and has not changed its user. A process stays in its pod.
//
// One gap is left. Where a process has ended before its connection was looked at,
// and another one that has its ID by then has already quoted, the connection is
// taken for the other one's. Linux gives an ID again only after all others.
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

// remember keeps a process, whose pidfd it closes in the end. Where there are
// too many, any one makes room: to find one that has ended would mean to ask all
// of them, and to forget one costs no more than to look again.
func (i *Identifier) remember(new *process) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		unix.Close(new.pidfd)
		return
	}
	i.forget(new.peer.Process) // two connections of it may have come at once
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
