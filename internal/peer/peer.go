// Package peer identifies the process at the other end of a unix socket, and the pod
// that it runs in. A Locator finds the pod of any process.
//
// The kernel reports which process connected, and the process's cgroup names its
// pod. No information comes from the client, and neither the API server nor the
// kubelet is asked. What is unknown is left empty: a caller outside any pod is
// identified by its container or its cgroup, and by its user where no process of the node
// is visible.
package peer

import (
	"log/slog"
	"strconv"
)

// Peer is the process at the other end of a connection, and the pod that it runs in.
// The zero Peer is an unknown one. Peers can be compared. Do not change the fields of
// a Peer that Identify returned.
type Peer struct {
	User      uint32 // its user ID when it connected, in this process's user namespace
	Process   int32  // its process ID in this process's PID namespace; 0 if it is not visible there
	Pod       string // the UID of its pod as in the API; for static pods the 32 hex digits of their config hash; "" if unknown or in no pod
	Namespace string // the namespace of the pod; "" if unknown
	Name      string // the name of the pod; "" if unknown
	Container string // the ID of its container, 64 hex digits; "" if unknown
	Cgroup    string // outside any pod and container, the upper two levels of its cgroup; "" if unknown

	key string // cached result of Key; empty in a Peer that Identify did not return
}

// Key returns the name under which the peer shares its connection budget and its
// queue with others: "pod/<uid>", else "container/<id>", else "cgroup/<two levels>", else
// "uid/<number>". All peers whose process could not be examined share "unidentified"; the
// zero Peer is "unknown".
//
// Outside pods, the cgroup counts and not the user: a user may have a range of user IDs,
// but only root creates cgroups such as system.slice/ssh.service and
// user.slice/user-1000.slice.
func (p Peer) Key() string {
	switch {
	case p.key != "":
		return p.key
	case p == Peer{}:
		return "unknown"
	}
	return p.makeKey()
}

// keyed returns the peer with its key cached. The key also distinguishes a root user
// of whom nothing else is known from the zero Peer.
func (p Peer) keyed() Peer {
	p.key = p.makeKey()
	return p
}

// unidentified returns the peer with the key that all peers share whose process could
// not be examined.
func (p Peer) unidentified() Peer {
	p.key = unidentifiedKey
	return p
}

// unidentifiedKey is the key of all peers whose process could not be examined.
const unidentifiedKey = "unidentified"

// Identified reports whether the process that connected is known. If it is not, the
// process has ended, or its cgroup cannot be read.
func (p Peer) Identified() bool { return p.key != unidentifiedKey && p != Peer{} }

// Restricted reports whether the peer gets only a small part of the limits: peers that
// are not identified share one.
func (p Peer) Restricted() bool { return !p.Identified() }

func (p Peer) makeKey() string {
	switch {
	case p.Pod != "":
		return "pod/" + p.Pod
	case p.Container != "":
		return "container/" + p.Container
	case p.Cgroup != "":
		return "cgroup" + p.Cgroup
	}
	return "uid/" + strconv.FormatUint(uint64(p.User), 10)
}

// shortID is how many digits of a container ID logs show, as crictl and docker do.
const shortID = 12

// LogValue returns the known attributes of the peer: pod, namespace, name, container, cgroup,
// pid and uid, and that it is unidentified, if it is.
func (p Peer) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 8)
	if p.key == unidentifiedKey {
		attrs = append(attrs, slog.Bool("unidentified", true))
	}
	if p.Pod != "" {
		attrs = append(attrs, slog.String("pod", p.Pod))
	}
	if p.Name != "" {
		attrs = append(attrs, slog.String("namespace", p.Namespace), slog.String("name", p.Name))
	}
	if p.Container != "" {
		attrs = append(attrs, slog.String("container", p.Container[:min(shortID, len(p.Container))]))
	}
	if p.Cgroup != "" {
		attrs = append(attrs, slog.String("cgroup", p.Cgroup))
	}
	if p.Process != 0 {
		attrs = append(attrs, slog.Int64("pid", int64(p.Process)))
	}
	if p != (Peer{}) {
		attrs = append(attrs, slog.Uint64("uid", uint64(p.User)))
	}
	return slog.GroupValue(attrs...)
}
