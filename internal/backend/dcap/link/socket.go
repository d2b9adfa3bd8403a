package link

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// FD is the worker's file descriptor for the inherited socket: the first of
// exec.Cmd.ExtraFiles.
const FD = 3

// readBuffer is enough for a usual reply, in bytes, so that it takes one read.
const readBuffer = 8 << 10

// conn is one end of a connection.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func newConn(c net.Conn) *conn { return &conn{c, bufio.NewReaderSize(c, readBuffer)} }

// newPair returns a pair of connected sockets without names.
func newPair(kind int) (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "link"), os.NewFile(uintptr(fds[1]), "link"), nil
}

// unixConn makes a connection of a socket, and closes file.
func unixConn(file *os.File) (*net.UnixConn, error) {
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	socket, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("not a unix socket")
	}
	return socket, nil
}

// sendFile sends a descriptor over a socket.
func sendFile(socket *net.UnixConn, file *os.File) error {
	// A message without a byte would look like the end to the receiver.
	_, _, err := socket.WriteMsgUnix([]byte{0}, unix.UnixRights(int(file.Fd())), nil)
	return err
}

// receiveFile receives a descriptor. The error is io.EOF once the sender has closed
// its end.
func receiveFile(socket *net.UnixConn) (*os.File, error) {
	var data [1]byte
	control := make([]byte, unix.CmsgSpace(4)) // for one descriptor
	n, controlSize, _, _, err := socket.ReadMsgUnix(data[:], control)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case n == 0:
		return nil, io.EOF
	}
	messages, err := unix.ParseSocketControlMessage(control[:controlSize])
	if err != nil {
		return nil, fmt.Errorf("parse control message: %w", err)
	}
	if len(messages) != 1 {
		return nil, fmt.Errorf("%d control messages, want 1", len(messages))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, fmt.Errorf("parse control message: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "link"), nil
}
