package aesm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Why Listen refuses a path. The errors that Listen returns wrap them.
var (
	ErrInUse       = errors.New("a daemon is serving it already: stop that one first, or use another path")
	ErrNotSocket   = errors.New("there is a file that is no socket: remove it, or use another path")
	ErrPathTooLong = fmt.Errorf("the path is longer than the %d bytes that the kernel takes: use a shorter one", maxSocketPath)
)

const (
	maxSocketPath = 107 // sun_path without its final NUL
	socketMode    = 0o777
	directoryMode = 0o755

	// livenessTimeout bounds the wait for a daemon that may be at the path. One
	// that does not answer in time lives.
	livenessTimeout = time.Second
)

// Listener listens on a unix socket file.
type Listener struct {
	*net.UnixListener
	addr  *net.UnixAddr
	file  fs.FileInfo // of the socket, to know it again
	close sync.Once
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
func Listen(path string) (*Listener, error) {
	l, err := listen(path)
	if err != nil {
		return nil, fmt.Errorf("aesm: listen on %s: %w", path, err)
	}
	return l, nil
}

func listen(path string) (*Listener, error) {
	if len(path) > maxSocketPath {
		return nil, ErrPathTooLong
	}
	dir := filepath.Dir(path)
	if err := ensureDirectory(dir); err != nil {
		return nil, err
	}
	stale, err := inspect(path)
	if err != nil {
		return nil, err
	}
	name := path
	if stale {
		name = filepath.Join(dir, "."+rand.Text()[:6])
		if len(name) > maxSocketPath {
			return nil, ErrPathTooLong
		}
	}
	ul, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, ErrInUse // since a moment ago
	}
	if err != nil {
		return nil, err
	}
	ul.SetUnlinkOnClose(false) // Close looks first whose file it is
	l := &Listener{UnixListener: ul, addr: &net.UnixAddr{Name: path, Net: "unix"}}
	if l.file, err = publish(name, path); err != nil {
		os.Remove(name)
		ul.Close()
		return nil, err
	}
	return l, nil
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

// inspect tells whether there is a stale socket at path. Anything else that is
// there is an error.
func inspect(path string) (stale bool, err error) {
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
		return false, ErrInUse
	case errors.Is(err, syscall.ECONNREFUSED):
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil // its owner has just removed it
	}
	return false, fmt.Errorf("%w (%v)", ErrInUse, err)
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

// Close stops listening and removes the socket file, unless another daemon has
// put its own there.
func (l *Listener) Close() error {
	l.close.Do(func() {
		// The file goes first: a client finds no daemon rather than a dead one.
		if info, err := os.Lstat(l.addr.Name); err == nil && os.SameFile(info, l.file) {
			os.Remove(l.addr.Name)
		}
	})
	return l.UnixListener.Close()
}
