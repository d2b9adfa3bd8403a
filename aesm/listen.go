package aesm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Why Listen refuses a path. The errors that Listen returns wrap them.
var (
	ErrInUse       = errors.New("a daemon is serving it already: stop that one first, take over from it, or use another path")
	ErrNotSocket   = errors.New("there is a file that is no socket: remove it, or use another path")
	ErrPathTooLong = fmt.Errorf("the path is longer than the %d bytes that the kernel takes: use a shorter one", maxSocketPath)
)

const (
	maxSocketPath = 107 // sun_path without its final NUL
	socketMode    = 0o777
	directoryMode = 0o755

	// backlog is how many connections may wait to be accepted, if the kernel
	// allows: Intel's client waits without end to be connected.
	backlog = 4096

	// livenessTimeout bounds the wait for a daemon that may be at the path. One
	// that does not answer in time lives.
	livenessTimeout = time.Second
)

// Listener listens on a unix socket file.
type Listener struct {
	socket *os.File
	raw    syscall.RawConn // of socket
	addr   *net.UnixAddr
	file   fs.FileInfo // that the path leads to, to know it again
	closed atomic.Bool
}

// Listen listens on a unix socket at path that every user may connect to (mode
// 0777). Enclave applications run under any user, and the protocol has no
// secrets.
//
// A socket file at which no one answers, which is what a daemon leaves behind
// when it is killed, is replaced at once: the new socket is bound beside it and
// renamed over it. Nothing else is replaced: the error is
// ErrInUse where a daemon answers and ErrNotSocket where the file is something
// else. Two daemons that start in the same instant over the same stale file may
// both succeed; the path then leads to the later one.
//
// The directory of path is created with mode 0755 where it is missing, as a
// service manager would, but not the directories above it.
func Listen(path string) (*Listener, error) { return newListener(path, false) }

// TakeOver is Listen that replaces the socket of a live daemon, too, by renaming
// its own over it: at no time there is none. The other daemon keeps the
// connections that it has and those that wait to be accepted; its Listener is
// not Current any more.
func TakeOver(path string) (*Listener, error) { return newListener(path, true) }

func newListener(path string, takeOver bool) (*Listener, error) {
	l, err := listen(path, takeOver)
	if err != nil {
		return nil, fmt.Errorf("aesm: listen on %s: %w", path, err)
	}
	return l, nil
}

func listen(path string, takeOver bool) (*Listener, error) {
	if len(path) > maxSocketPath {
		return nil, ErrPathTooLong
	}
	dir := filepath.Dir(path)
	if err := ensureDirectory(dir); err != nil {
		return nil, err
	}
	there, err := inspect(path)
	if err != nil && !(takeOver && errors.Is(err, ErrInUse)) {
		return nil, err
	}
	name := path
	if there {
		name = filepath.Join(dir, "."+rand.Text()[:6])
		if len(name) > maxSocketPath {
			return nil, ErrPathTooLong
		}
	}
	socket, err := bind(name)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, ErrInUse // since a moment ago
	}
	if err != nil {
		return nil, err
	}
	l := &Listener{socket: socket, addr: &net.UnixAddr{Name: path, Net: "unix"}}
	if l.raw, err = socket.SyscallConn(); err == nil {
		l.file, err = publish(name, path)
	}
	if err != nil {
		os.Remove(name)
		socket.Close()
		return nil, err
	}
	return l, nil
}

// bind makes a socket at path that listens.
func bind(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		err = os.NewSyscallError("bind", err)
	} else if err = unix.Listen(fd, backlog); err != nil {
		err = os.NewSyscallError("listen", err)
		os.Remove(path)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func ensureDirectory(dir string) error {
	err := os.Mkdir(dir, directoryMode)
	switch {
	case err == nil:
		return os.Chmod(dir, directoryMode) // whatever the umask is
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s and the directory above it are missing: create them", dir)
	}
	return err
}

// inspect tells whether there is a socket at path. One that a daemon serves is
// ErrInUse, and anything else that is there is another error.
func inspect(path string) (there bool, err error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case info.Mode().Type() != fs.ModeSocket:
		return false, ErrNotSocket
	}
	conn, err := net.DialTimeout("unix", path, livenessTimeout)
	switch {
	case err == nil:
		conn.Close()
		return true, ErrInUse
	case errors.Is(err, syscall.ECONNREFUSED):
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil // its owner has just removed it
	}
	return true, fmt.Errorf("%w (%v)", ErrInUse, err)
}

// publish gives a socket its mode and then its name, if that is another.
func publish(from, to string) (fs.FileInfo, error) {
	if err := os.Chmod(from, socketMode); err != nil {
		return nil, err
	}
	if err := os.Rename(from, to); err != nil {
		return nil, err
	}
	return os.Lstat(to)
}

// Addr returns the path of the socket.
func (l *Listener) Addr() net.Addr { return l.addr }

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	var fd uintptr
	var errno syscall.Errno
	accept := func(listener uintptr) bool {
		for {
			// Clients have no address that could be asked for.
			fd, _, errno = unix.Syscall6(unix.SYS_ACCEPT4, listener, 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
			if errno != unix.EINTR {
				return errno != unix.EAGAIN
			}
		}
	}
	err := l.raw.Read(accept)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// Time is up, but a connection that is there does not have to be waited for.
		there := false
		if l.raw.Control(func(listener uintptr) { there = accept(listener) }) == nil && there {
			err = nil
		}
	}
	switch {
	case err != nil && l.closed.Load():
		err = net.ErrClosed // as listeners have it
	case err == nil && errno != 0:
		err = errno
	}
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "unix", Addr: l.addr, Err: err}
	}
	return &unixConn{fd: int(fd), addr: l.addr}, nil
}

// SetDeadline bounds the wait of Accept; the zero time is no bound. Connections
// that need no waiting are accepted after it, too.
func (l *Listener) SetDeadline(t time.Time) error { return l.socket.SetReadDeadline(t) }

// Current tells whether the path still leads to this listener, and not to one
// that has taken over, or nowhere. A closed listener has no path.
func (l *Listener) Current() bool {
	// The file of a closed socket is gone, and another may have got its number.
	if l.closed.Load() {
		return false
	}
	info, err := os.Lstat(l.addr.Name)
	return err == nil && os.SameFile(info, l.file)
}

// Withdraw removes the socket file, unless another daemon has put its own there.
// Clients that come now find no daemon rather than one that is about to end;
// those that have connected already can still be accepted.
func (l *Listener) Withdraw() error {
	if l.Current() {
		return os.Remove(l.addr.Name)
	}
	return nil
}

// Close withdraws the socket and stops listening. Connections that were not
// accepted are lost.
func (l *Listener) Close() error {
	withdrawn := l.Withdraw()
	l.closed.Store(true)
	closed := l.socket.Close()
	if errors.Is(closed, os.ErrClosed) {
		closed = net.ErrClosed
	}
	return errors.Join(withdrawn, closed)
}
