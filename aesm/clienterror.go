package aesm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Error is the error of a request that the daemon refused.
type Error struct {
	Op   Kind // which request
	Code Code // why; see its Advice
}

func (e *Error) Error() string { return fmt.Sprintf("aesm: %s: %s", e.Op, e.Code.Error()) }

// Unwrap returns the code: errors.Is(err, aesm.CodeBusy) works, and a Handler that
// returns the error answers with the same code.
func (e *Error) Unwrap() error { return e.Code }

// ErrNoReply is wrapped by the TransportError of a connection that the daemon closed
// before it sent a complete reply.
var ErrNoReply = errors.New("the daemon closed the connection without a whole reply")

// TransportError is the error of a request that did not reach the daemon, or whose
// reply did not arrive.
type TransportError struct {
	Op     Kind   // which request
	Socket string // path of the daemon's socket
	Err    error  // the cause
}

func (e *TransportError) Error() string {
	text := fmt.Sprintf("aesm: %s: %s: %v", e.Op, e.Socket, e.Err)
	if advice := e.Advice(); advice != "" {
		text += ": " + advice
	}
	return text
}

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// Advice returns what to do about the error, "" if nothing is known to help.
func (e *TransportError) Advice() string {
	switch {
	case errors.Is(e.Err, fs.ErrNotExist):
		return "is the quote helper running on this node, and is its directory /var/run/aesmd mounted into this container?"
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return "the socket file is stale: restart the quote helper; if the container mounts the file itself, mount its directory instead"
	case errors.Is(e.Err, fs.ErrPermission):
		return "this process has no permission to connect: the socket needs mode 0777, and its directory 0755"
	case errors.Is(e.Err, ErrNoReply):
		return "the daemon does not know this kind of request, found it malformed, or was stopped: see its log"
	case errors.Is(e.Err, context.DeadlineExceeded), errors.Is(e.Err, syscall.EAGAIN):
		return "the daemon is overloaded, stalled, or waiting for the network: see its log and try again"
	}
	return ""
}

// ProtocolError is the error of a reply that violates the protocol.
type ProtocolError struct {
	Op     Kind   // which request
	Socket string // path of the daemon's socket
	Reason string // what is wrong with the reply
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("aesm: %s: %s: bad reply: %s: is this an AESM daemon, and of the right version?", e.Op, e.Socket, e.Reason)
}
