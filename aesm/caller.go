package aesm

import "net"

// Caller is the client that a request came from. The zero Caller is one of which
// nothing is known; it counts as waiting.
type Caller struct {
	// Peer is what Server.Identify returned, nil without it.
	Peer Peer

	socket net.Conn
}

// Peer identifies who is at the other end of a connection: a process, a container,
// a pod.
type Peer interface {
	// Key names the peer. Connections with the same key share one peer's limits.
	Key() string
}

// Waits reports whether the caller still waits for the reply. One that has closed
// its connection, or has died, does not. Where this cannot be determined, Waits
// returns true.
//
// A caller that has closed only its sending half still waits.
func (c Caller) Waits() bool { return c.socket == nil || !hungUp(c.socket) }
