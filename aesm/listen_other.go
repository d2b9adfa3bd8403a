//go:build !linux

package aesm

import (
	"errors"
	"fmt"
	"net"
	"time"
)

var errNotLinux = fmt.Errorf("aesm: a server needs Linux: %w", errors.ErrUnsupported)

// Listener listens on a unix socket file. It needs Linux: elsewhere Listen, TakeOver
// and StandBy return an error, and so do the methods.
type Listener struct{}

func newListener(string, bool) (*Listener, error) { return nil, errNotLinux }

func newStandBy(string) (*Listener, error) { return nil, errNotLinux }

// Addr returns an address without a name.
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
