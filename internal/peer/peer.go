// Package peer tells who is at the other end of a unix socket: which process,
// and which pod it is in.
//
// The kernel says which process has connected, and the process's cgroup says
// which pod that is. Neither asks the API server or the kubelet, nor the client.
// What cannot be found out is left empty: a caller without a pod is still a
// container, or a user.
package peer

import (
	"context"
	"log/slog"
	"strconv"
)

// Peer is the process at the other end of a connection and the pod that it is
// in. The zero Peer is one of which nothing is known. Peers can be compared; the
// fields of one that Identify has returned are not to be changed.
type Peer struct {
	User      uint32 // its user ID when it connected, as this process sees it
	Process   int32  // its process ID as this process sees it; 0 where its PID namespace is not visible
	Pod       string // the UID of its pod as the API server spells it; for static pods the 32 hex digits of their config hash; "" where unknown or no pod
	Container string // the ID of its container, 64 hex digits; "" where unknown

	key string // what Key returns, of a Peer that Identify has returned
}

// Key names whom the peer shares its budget and its queue with: "pod/<uid>", or
// else "container/<id>", or else "uid/<number>". It is "unidentified" for all whose
// process could not be looked at, and "unknown" for the zero Peer.
func (p Peer) Key() string {
	switch {
	case p.key != "":
		return p.key
	case p == Peer{}:
		return "unknown"
	}
	return p.makeKey()
}

// keyed is the peer with its key made once for all calls of Key. It also tells a
// root user of whom nothing else is known from the zero Peer.
func (p Peer) keyed() Peer {
	p.key = p.makeKey()
	return p
}

// unidentified is the peer with the key of all of which it could not be found out
// who they are.
func (p Peer) unidentified() Peer {
	p.key = "unidentified"
	return p
}

func (p Peer) makeKey() string {
	switch {
	case p.Pod != "":
		return "pod/" + p.Pod
	case p.Container != "":
		return "container/" + p.Container
	}
	return "uid/" + strconv.FormatUint(uint64(p.User), 10)
}

// shortID is how many digits of a container's ID logs show, as crictl and docker do.
const shortID = 12

// LogValue is what is known of the peer: pod, container, pid and uid.
func (p Peer) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 4)
	if p.Pod != "" {
		attrs = append(attrs, slog.String("pod", p.Pod))
	}
	if p.Container != "" {
		attrs = append(attrs, slog.String("container", p.Container[:min(shortID, len(p.Container))]))
	}
	if p.Process != 0 {
		attrs = append(attrs, slog.Int64("pid", int64(p.Process)))
	}
	if p != (Peer{}) {
		attrs = append(attrs, slog.Uint64("uid", uint64(p.User)))
	}
	return slog.GroupValue(attrs...)
}

type contextKey struct{}

// peerContext is a context.WithValue that needs no memory but its own.
type peerContext struct {
	context.Context
	peer Peer
}

func (c *peerContext) Value(key any) any {
	if key == (contextKey{}) {
		return &c.peer
	}
	return c.Context.Value(key)
}

// NewContext is ctx with the peer whose connection it belongs to.
func NewContext(ctx context.Context, p Peer) context.Context {
	return &peerContext{ctx, p}
}

// FromContext returns the peer that NewContext has put into ctx, or else the
// zero Peer.
func FromContext(ctx context.Context) Peer {
	if p, ok := ctx.Value(contextKey{}).(*Peer); ok {
		return *p
	}
	return Peer{}
}
