// Package link gives a process connections to its child, over a socket that
// the child inherits and that has no name: nobody else can connect.
//
// The parent makes a Dialer and starts the child with the Dialer's file as its
// file descriptor FD. Each Dial makes a pair of connected sockets and sends one
// of them to the child, whose Listener returns it from Accept. A connection that is
// good for more is kept for the next Dial. When the parent closes the Dialer or
// ends, Accept fails with io.EOF.
package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// FD is the child's file descriptor: the first of exec.Cmd.ExtraFiles.
const FD = 3

// Dialer is the parent's end. It is safe for concurrent use.
type Dialer struct {
	socket *net.UnixConn

	mu     sync.Mutex
	kept   []net.Conn
	closed bool
}

// NewDialer returns a dialer and the file for the child, which the parent closes
// once the child was started.
func NewDialer() (*Dialer, *os.File, error) {
	ours, theirs, err := pair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, nil, err
	}
	socket, err := connOf(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return &Dialer{socket: socket}, theirs, nil
}

// Keep keeps a connection for the next Dial.
func (d *Dialer) Keep(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		conn.Close()
		return
	}
	d.kept = append(d.kept, conn)
}

// Dial returns a connection to the child.
func (d *Dialer) Dial(context.Context) (net.Conn, error) {
	d.mu.Lock()
	if last := len(d.kept) - 1; last >= 0 {
		conn := d.kept[last]
		d.kept = d.kept[:last]
		d.mu.Unlock()
		return conn, nil
	}
	d.mu.Unlock()
	ours, theirs, err := pair(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	conn, err := connOf(ours)
	if err != nil {
		return nil, err
	}
	// The byte is there because a message without any would look like the end.
	if _, _, err := d.socket.WriteMsgUnix([]byte{0}, unix.UnixRights(int(theirs.Fd())), nil); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// Close closes the connections that were kept, and tells the child that no more
// come.
func (d *Dialer) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, conn := range d.kept {
		conn.Close()
	}
	d.kept = nil
	return d.socket.Close()
}

// Listener is the child's end.
type Listener struct{ socket *net.UnixConn }

// Inherit returns the listener of a process that was started with a Dialer's
// file.
func Inherit() (*Listener, error) {
	socket, err := connOf(os.NewFile(FD, "handover"))
	if err != nil {
		return nil, fmt.Errorf("file descriptor %d is no socket of a parent process: %w", FD, err)
	}
	return &Listener{socket}, nil
}

// Accept waits for the next connection. The error wraps io.EOF when the parent
// has ended.
func (l *Listener) Accept() (net.Conn, error) {
	var data [1]byte
	oob := make([]byte, unix.CmsgSpace(4)) // of one file descriptor
	n, oobn, _, _, err := l.socket.ReadMsgUnix(data[:], oob)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case n == 0:
		return nil, &net.OpError{Op: "accept", Net: "unix", Addr: l.Addr(), Err: io.EOF}
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, errors.New("handover: a message without a connection")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	return connOf(os.NewFile(uintptr(fds[0]), "connection"))
}

// drainTimeout is how long Serve waits for connections once there are no more.
const drainTimeout = 15 * time.Second

// Serve has each connection served on a goroutine of its own, until the parent
// wants no more or ctx is done, and waits for them. It is an error if they take too
// long then.
func (l *Listener) Serve(ctx context.Context, serve func(net.Conn)) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var serving sync.WaitGroup
	for {
		conn, err := l.Accept()
		if err == nil {
			serving.Go(func() { serve(conn) })
			continue
		}
		if !errors.Is(err, io.EOF) && ctx.Err() == nil {
			return err
		}
		break
	}
	served := make(chan struct{})
	go func() {
		serving.Wait()
		close(served)
	}()
	timer := time.NewTimer(drainTimeout)
	defer timer.Stop()
	select {
	case <-served:
		return nil
	case <-timer.C:
		return fmt.Errorf("handover: the last requests are not done after %s", drainTimeout)
	}
}

// Addr returns an address that says what this is.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: "handover", Net: "unix"} }

// Close stops listening.
func (l *Listener) Close() error { return l.socket.Close() }

// pair makes a pair of connected sockets.
func pair(kind int) (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "handover"), os.NewFile(uintptr(fds[1]), "handover"), nil
}

// connOf makes a connection of a socket, which it takes over.
func connOf(file *os.File) (*net.UnixConn, error) {
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, errors.New("no unix socket")
	}
	return socket, nil
}
