package aesm

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"
)

// ClientWaits tells whether the client still waits for the reply to the request
// that a Handler was called for with ctx. One that has closed its connection, or
// has died, does not. Where it cannot be told, it is true.
//
// A client may have closed its sending half: it still waits.
func ClientWaits(ctx context.Context) bool {
	c, ok := ctx.Value(connKey{}).(*conn)
	if !ok {
		return true
	}
	sc, ok := c.socket.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	waits := true
	err = raw.Control(func(fd uintptr) {
		// The kernel tells of a hang-up though nothing is asked for.
		poll := []unix.PollFd{{Fd: int32(fd)}}
		if n, err := unix.Poll(poll, 0); n == 1 && err == nil {
			waits = poll[0].Revents&(unix.POLLHUP|unix.POLLERR) == 0
		}
	})
	return waits && err == nil // an error is that the connection was closed
}
