package aesm

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent returns the memory that the kernel holds for what was written to a socket and
// was not read by the peer, including the kernel's own overhead. It is 0 once the peer
// has closed its end. ok is false if conn is no unix socket.
func unsent(conn net.Conn) (bytes int, ok bool) {
	bytes, err := control(conn, func(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.SIOCOUTQ) })
	return bytes, err == nil
}

// endWrites lets the peer see the end of the connection once it has read the reply.
// What the peer writes from now on fails.
func endWrites(conn net.Conn) error {
	_, err := control(conn, func(fd int) (int, error) { return 0, unix.Shutdown(fd, unix.SHUT_RDWR) })
	return err
}

// control makes a system call on a unix socket.
func control(conn net.Conn, call func(fd int) (int, error)) (int, error) {
	if c, ok := conn.(*unixConn); ok { // without the allocations of a RawConn
		if n, err, done := c.try(call); done {
			return n, err
		}
	}
	return rawControl(conn, call)
}

func rawControl(conn net.Conn, call func(fd int) (int, error)) (n int, err error) {
	socket, ok := conn.(syscall.Conn)
	if !ok || conn.LocalAddr().Network() != "unix" {
		return 0, unix.ENOTSOCK
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(fd uintptr) { n, err = call(int(fd)) })
	if controlErr != nil {
		err = controlErr
	}
	return n, err
}
