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

// unixConn is a connection that a Listener has accepted. It stays out of the
// runtime's poller until it has to wait, and most connections never have to: the
// request is there when the connection is accepted, and the reply fits into the
// socket's buffer. That saves system calls, timers and allocations in each exchange;
// BenchmarkListener measures how much.
//
// The first time it has to wait, it becomes an os.File and registers with the
// poller.
type unixConn struct {
	addr net.Addr

	mu     sync.Mutex // held while fd is used, so that it is not closed meanwhile
	fd     int        // -1 once it is a file, or closed
	file   *os.File   // nil until then
	closed bool

	readDeadline, writeDeadline time.Time // for the file to come
}

// try makes a system call that does not block. done is false if the call would have
// to wait for the peer, or if the connection is a file already.
func (c *unixConn) try(call func(fd int) (int, error)) (n int, err error, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed, true
	}
	if c.file != nil {
		return 0, nil, false
	}
	for {
		n, err = call(c.fd)
		if err != syscall.EINTR {
			break
		}
	}
	if err == syscall.EAGAIN {
		return 0, nil, false
	}
	return max(n, 0), err, true
}

// poll returns the connection as a file, which can wait.
func (c *unixConn) poll() (*os.File, error) {
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

// tryRead is Read if that need not wait. Otherwise done is false.
func (c *unixConn) tryRead(p []byte) (n int, err error, done bool) {
	n, err, done = c.try(func(fd int) (int, error) { return syscall.Read(fd, p) })
	if done && n == 0 && err == nil {
		err = io.EOF
	}
	return n, c.opError("read", err), done
}

func (c *unixConn) Read(p []byte) (int, error) {
	if n, err, done := c.tryRead(p); done {
		return n, err
	}
	file, err := c.poll()
	if err != nil {
		return 0, c.opError("read", err)
	}
	n, err := file.Read(p)
	return n, c.opError("read", err)
}

func (c *unixConn) Write(p []byte) (int, error) {
	n, err, done := c.try(func(fd int) (int, error) { return syscall.Write(fd, p) })
	if err == nil && (!done || n < len(p)) {
		var file *os.File
		if file, err = c.poll(); err == nil {
			var rest int
			rest, err = file.Write(p[n:])
			n += rest
		}
	}
	return n, c.opError("write", err)
}

func (c *unixConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	switch {
	case c.closed:
		err = net.ErrClosed
	case c.file != nil:
		err = c.file.Close()
	default:
		err = syscall.Close(c.fd)
		c.fd = -1
	}
	c.closed = true
	return c.opError("close", err)
}

// opError makes every error that the connection returns: a *net.OpError as those of
// net.UnixConn are, but for io.EOF.
func (c *unixConn) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if pathErr, ok := err.(*os.PathError); ok {
		err = pathErr.Err // operation and path are in the OpError
	}
	if errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: c.addr.Network(), Addr: c.addr, Err: err}
}

func (c *unixConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *unixConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readDeadline = t
	if c.file != nil {
		return c.opError("set", c.file.SetReadDeadline(t))
	}
	return nil
}

func (c *unixConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeDeadline = t
	if c.file != nil {
		return c.opError("set", c.file.SetWriteDeadline(t))
	}
	return nil
}

func (c *unixConn) LocalAddr() net.Addr  { return c.addr }
func (c *unixConn) RemoteAddr() net.Addr { return c.addr } // clients have no address of their own

// SyscallConn gives access to the socket, as net.UnixConn's does.
func (c *unixConn) SyscallConn() (syscall.RawConn, error) { return rawConn{c}, nil }

type rawConn struct{ c *unixConn }

func (r rawConn) Control(f func(fd uintptr)) error {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	switch {
	case r.c.closed:
		return r.c.opError("raw-control", net.ErrClosed)
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
	file, err := r.c.poll()
	if err != nil {
		return nil, r.c.opError("raw", err)
	}
	return file.SyscallConn()
}
