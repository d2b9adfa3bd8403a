//go:build !linux

package aesm

import (
	"errors"
	"fmt"
	"net"
	"time"
)

var errNotLinux = errors.New("a server needs Linux")

// Listener listens on a unix socket file. It needs Linux: elsewhere Listen and
// TakeOver return an error, and so do the methods.
type Listener struct{}

func newListener(path string, _ bool) (*Listener, error) {
	return nil, fmt.Errorf("aesm: listen on %s: %w", path, errNotLinux)
}

// Addr returns the zero address.
func (*Listener) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// Accept returns an error.
func (*Listener) Accept() (net.Conn, error) { return nil, errNotLinux }

// SetDeadline returns an error.
func (*Listener) SetDeadline(time.Time) error { return errNotLinux }

// Current returns false.
func (*Listener) Current() bool { return false }

// Withdraw returns an error.
func (*Listener) Withdraw() error { return errNotLinux }

// Close returns an error.
func (*Listener) Close() error { return errNotLinux }
