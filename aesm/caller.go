package aesm

import "net"

// Caller is the client that sent a request. The zero Caller is an unknown one.
type Caller struct {
	// Peer is what Server.Identify returned for the connection, nil without it.
	Peer Peer

	socket net.Conn
}

// Peer identifies a process, container or pod at the other end of a connection.
type Peer interface {
	// Key names the peer. Connections with equal keys share the limits of one peer.
	Key() string
}

// Waits reports whether the caller still waits for the reply. One that has closed
// its connection, or has died, does not; one that has only closed its sending half
// does. Where this cannot be determined, Waits returns true.
func (c Caller) Waits() bool { return c.socket == nil || !hungUp(c.socket) }

// RestrictedPeer is a Peer that may get only a small part of the limits: 1/64 instead
// of a quarter. It is meant for callers that share a key because nothing is known of
// them.
type RestrictedPeer interface {
	Peer
	// Restricted reports whether the peer gets the small part. It is the same for all
	// peers with the same key.
	Restricted() bool
}
