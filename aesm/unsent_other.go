//go:build !linux

package aesm

import (
	"errors"
	"net"
)

// unsent needs Linux: elsewhere nothing is known of the socket.
func unsent(net.Conn) (int, bool) { return 0, false }

// endWrites needs Linux.
func endWrites(net.Conn) error { return errors.ErrUnsupported }
