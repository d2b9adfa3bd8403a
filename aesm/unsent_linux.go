package aesm

import (
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// unsent returns the memory that the kernel holds for what was written to a socket and
// was not read by the peer, including the kernel's own overhead. It is 0 once the peer
// has closed its end. ok is false if conn is no unix socket.
func unsent(conn net.Conn) (bytes int, ok bool) {
	bytes, err := control(conn, func(fd int) (int, error) {
		var n int32
		// It never waits, so the scheduler need not know of it.
		_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&n)))
		if errno != 0 {
			return 0, errno
		}
		return int(n), nil
	})
	return bytes, err == nil
}

// endWrites lets the peer see the end of the connection once it has read the reply.
// What the peer writes from now on fails.
func endWrites(conn net.Conn) error {
	_, err := control(conn, func(fd int) (int, error) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_RDWR, 0); errno != 0 {
			return 0, errno
		}
		return 0, nil
	})
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
