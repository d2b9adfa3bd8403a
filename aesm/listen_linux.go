package aesm

import (
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

const (
	directoryMode = 0o755

	// backlog bounds the connections that wait to be accepted, as far as the kernel
	// allows: Intel's client waits forever to be connected.
	backlog = 4096

	// livenessTimeout bounds the attempt to connect to the daemon at the path. One
	// that does not answer in time counts as running.
	livenessTimeout = time.Second
)

// Listener listens on a unix socket file.
type Listener struct {
	socket *os.File
	raw    syscall.RawConn // of socket
	addr   *net.UnixAddr
	beside string      // the path until another daemon hands its own over, empty if this did not stand by
	file   fs.FileInfo // of the socket file, to recognize it
	closed atomic.Bool
}

func newListener(path string, takeOver bool) (*Listener, error) {
	l, err := listen(path, takeOver)
	if err != nil {
		return nil, fmt.Errorf("aesm: listen on %s: %w", path, err)
	}
	return l, nil
}

func newStandBy(path string) (*Listener, error) {
	l, err := newListener(path+standBySuffix, true)
	if err != nil {
		return nil, err
	}
	l.beside, l.addr.Name = l.addr.Name, path
	return l, nil
}

func listen(path string, takeOver bool) (*Listener, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	dir, base := filepath.Split(path)
	dir = filepath.Clean(dir)
	if err := ensureDirectory(dir); err != nil {
		return nil, err
	}
	exists, err := inspect(path)
	if err != nil && !(takeOver && errors.Is(err, ErrInUse)) {
		return nil, err
	}
	stage, err := openStage(dir)
	if err != nil {
		return nil, err
	}
	defer stage.close()
	socket, err := stage.bind()
	if err != nil {
		return nil, err
	}
	l := &Listener{socket: socket, addr: &net.UnixAddr{Name: path, Net: "unix"}}
	if l.raw, err = socket.SyscallConn(); err == nil {
		l.file, err = stage.publish(base, exists)
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	return l, nil
}

// checkPath checks what can be checked of the path of a socket without looking at it.
func checkPath(path string) error {
	switch {
	case path == "":
		return ErrNoPath
	case path[0] == '@' || path[0] == 0:
		return ErrAbstract
	case path[len(path)-1] == '/':
		return ErrDirectory
	case len(path) > maxSocketPath:
		return ErrPathTooLong
	}
	return nil
}

// ensureDirectory creates a directory if it is missing. The umask does not matter.
func ensureDirectory(dir string) error {
	err := os.Mkdir(dir, directoryMode)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s and the directory above it are missing: create them", dir)
	default:
		return err
	}
	// Through a descriptor: by now, the path may lead elsewhere.
	created, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer created.Close()
	return created.Chmod(directoryMode)
}

// inspect reports whether there is a socket at path. The error is ErrInUse if a
// daemon answers on it, and ErrNotSocket or ErrDirectory if the file is not a socket.
func inspect(path string) (exists bool, err error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case info.IsDir():
		return false, ErrDirectory
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

// Addr returns the path of the socket.
func (l *Listener) Addr() net.Addr { return l.addr }

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	var fd uintptr
	var errno syscall.Errno
	accept := func(listener uintptr) bool {
		for {
			// Without a sockaddr: clients have no address.
			fd, _, errno = unix.Syscall6(unix.SYS_ACCEPT4, listener, 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
			if errno != unix.EINTR {
				return errno != unix.EAGAIN
			}
		}
	}
	err := l.raw.Read(accept)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// A connection that is already there can be accepted without waiting.
		accepted := false
		if l.raw.Control(func(listener uintptr) { accepted = accept(listener) }) == nil && accepted {
			err = nil
		}
	}
	switch {
	case err != nil && l.closed.Load():
		err = net.ErrClosed
	case err == nil && errno != 0:
		err = errno
	}
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "unix", Addr: l.addr, Err: err}
	}
	return &unixConn{fd: int(fd), addr: l.addr}, nil
}

// SetDeadline bounds how long Accept waits; the zero time means no bound. After the
// deadline, Accept still returns connections for which it need not wait.
func (l *Listener) SetDeadline(t time.Time) error { return l.socket.SetReadDeadline(t) }

// Current reports whether the path still leads to this listener, and not to one
// that has taken over, or nowhere. It returns false for a closed listener.
func (l *Listener) Current() bool { return l.isAt(l.addr.Name) }

// isAt reports whether a path leads to this listener.
func (l *Listener) isAt(path string) bool {
	// The inode of a closed socket may have been reused for another file.
	if l.closed.Load() {
		return false
	}
	info, err := os.Lstat(path)
	return err == nil && os.SameFile(info, l.file)
}

// Withdraw gives the path to a daemon that stands by for it, or else removes the socket
// file, unless another daemon has put its own there. New clients then find that daemon or
// none, instead of one that is about to stop. Connections that were made before can still be
// accepted.
func (l *Listener) Withdraw() error {
	if l.beside != "" && l.isAt(l.beside) {
		if err := os.Remove(l.beside); err != nil && !errors.Is(err, fs.ErrNotExist) { // handed over in this moment
			return err
		}
	}
	if !l.Current() {
		return nil
	}
	next := l.addr.Name + standBySuffix
	switch stale, err := inspect(next); {
	case errors.Is(err, ErrInUse):
		if err := os.Rename(next, l.addr.Name); err == nil {
			return nil
		}
	case stale && err == nil:
		_ = os.Remove(next)
	}
	return os.Remove(l.addr.Name)
}

// Close withdraws the socket and stops listening. Connections that were not accepted
// are lost.
func (l *Listener) Close() error {
	withdrawn := l.Withdraw()
	l.closed.Store(true)
	closed := l.socket.Close()
	if errors.Is(closed, os.ErrClosed) {
		closed = net.ErrClosed
	}
	return errors.Join(withdrawn, closed)
}
