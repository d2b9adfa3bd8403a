package aesm

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// unixConn is a connection that Listener has accepted. It does without the
// runtime's poller for as long as it never has to wait, and most never have to:
// the request is there when the connection is accepted, and the reply fits into
// the socket's buffer. That saves system calls, timers and memory for each exchange.
//
// It is a file for the runtime, with all that belongs to it, from the first time
// on that it has to wait.
type unixConn struct {
	addr net.Addr

	mu     sync.Mutex // held while fd is used, so that it is not closed meanwhile
	fd     int        // -1 once it is a file, or closed
	file   *os.File   // nil until then
	closed bool

	readDeadline, writeDeadline time.Time // for the file to come
}

// now tries an operation that does not block. It is false where that has to
// wait for the peer or the connection is a file already.
func (c *unixConn) now(op func(fd int) (int, error)) (n int, err error, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed, true
	}
	if c.file != nil {
		return 0, nil, false
	}
	for {
		n, err = op(c.fd)
		if err != syscall.EINTR {
			break
		}
	}
	if err == syscall.EAGAIN {
		return 0, nil, false
	}
	return max(n, 0), err, true
}

// wait makes a file of the connection.
func (c *unixConn) wait() (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, net.ErrClosed
	}
	if c.file == nil {
		file := os.NewFile(uintptr(c.fd), c.addr.String())
		c.file, c.fd = file, -1
		if err := errors.Join(file.SetReadDeadline(c.readDeadline), file.SetWriteDeadline(c.writeDeadline)); err != nil {
			return nil, err
		}
	}
	return c.file, nil
}

// readNow is Read where that does not have to wait. It is false where it has to.
func (c *unixConn) readNow(p []byte) (n int, err error, done bool) {
	n, err, done = c.now(func(fd int) (int, error) { return syscall.Read(fd, p) })
	if done && n == 0 && err == nil {
		err = io.EOF
	}
	return n, err, done
}

func (c *unixConn) Read(p []byte) (int, error) {
	if n, err, done := c.readNow(p); done {
		return n, err
	}
	file, err := c.wait()
	if err != nil {
		return 0, err
	}
	return file.Read(p)
}

func (c *unixConn) Write(p []byte) (int, error) {
	n, err, done := c.now(func(fd int) (int, error) { return syscall.Write(fd, p) })
	if done && (err != nil || n == len(p)) {
		return n, err
	}
	file, err := c.wait()
	if err != nil {
		return n, err
	}
	rest, err := file.Write(p[n:])
	return n + rest, err
}

func (c *unixConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	if c.file != nil {
		return c.file.Close()
	}
	fd := c.fd
	c.fd = -1
	return syscall.Close(fd)
}

func (c *unixConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *unixConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readDeadline = t
	if c.file != nil {
		return c.file.SetReadDeadline(t)
	}
	return nil
}

func (c *unixConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeDeadline = t
	if c.file != nil {
		return c.file.SetWriteDeadline(t)
	}
	return nil
}

func (c *unixConn) LocalAddr() net.Addr  { return c.addr }
func (c *unixConn) RemoteAddr() net.Addr { return c.addr } // clients have no name of their own

// SyscallConn gives access to the socket, as that of net.UnixConn does.
func (c *unixConn) SyscallConn() (syscall.RawConn, error) { return rawConn{c}, nil }

type rawConn struct{ c *unixConn }

func (r rawConn) Control(f func(fd uintptr)) error {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	switch {
	case r.c.closed:
		return net.ErrClosed
	case r.c.file == nil:
		f(uintptr(r.c.fd))
		return nil
	}
	raw, err := r.c.file.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(f)
}

func (r rawConn) Read(f func(fd uintptr) bool) error {
	raw, err := r.file()
	if err != nil {
		return err
	}
	return raw.Read(f)
}

func (r rawConn) Write(f func(fd uintptr) bool) error {
	raw, err := r.file()
	if err != nil {
		return err
	}
	return raw.Write(f)
}

func (r rawConn) file() (syscall.RawConn, error) {
	file, err := r.c.wait()
	if err != nil {
		return nil, err
	}
	return file.SyscallConn()
}
