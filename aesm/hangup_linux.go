package aesm

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hungUp reports whether a socket's peer has closed its connection, or we have. It
// returns false if conn is not a socket.
func hungUp(conn net.Conn) bool {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		// The kernel reports a hang-up even if no event was requested.
		poll := []unix.PollFd{{Fd: int32(fd)}}
		if n, err := unix.Poll(poll, 0); n == 1 && err == nil {
			gone = poll[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
		}
	})
	return gone || err != nil // an error means that we have closed it
}
