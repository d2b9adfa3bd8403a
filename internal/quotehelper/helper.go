// Package quotehelper is the daemon that serves the quotes of a node: it puts the quote
// service behind the AESM socket and reports to the log, the metrics and the probes.
//
// The socket is all that clients know of the daemon, so the daemon keeps one in place.
// A new daemon renames its socket over that of its predecessor. If the file is removed,
// the daemon creates a new one within a second. A daemon that was replaced still serves
// the connections made before.
//
//   - helper.go assembles the daemon.
//   - socketowner.go puts the socket in place, and decides when to take it over.
//   - occupant.go finds out which other daemon has it.
//   - limits.go decides how many connections there are at most.
//   - callers.go refuses callers that are not identified.
//   - readiness.go checks regularly that quotes can be made.
package quotehelper

import (
	"context"
	"net"
	"sync"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/peer"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/internal/quoting/targets"
)

// Helper serves the quotes of a backend.
type Helper struct {
	Backend     quoting.Backend
	Concurrency int    // how many requests the backend serves at a time
	Socket      string // the path of the socket
	// TakeOver replaces the socket of a running daemon, once the backend can make
	// quotes.
	TakeOver bool
	// StandBy keeps Run waiting after another daemon has taken over the socket, to take
	// it back when that daemon ends. Otherwise Run returns.
	StandBy bool
	// RefuseUnidentified refuses quotes to callers that are not identified. Otherwise
	// they share a small part of the limits.
	RefuseUnidentified bool
	// KubeletCgroup is the cgroup below which the kubelet creates those of pods. If it is
	// empty, it is learnt from the cgroup of this process.
	KubeletCgroup string
	// PodLogs is the directory with the logs of pods, for their names in logs. If it is
	// empty, logs have only their UIDs.
	PodLogs string
}

// Run serves until ctx is done or, without StandBy, another daemon has taken over the
// socket. It then finishes the connections made before, and returns nil. It returns an
// error if it cannot put a socket in place.
func (h *Helper) Run(ctx context.Context, env *daemon.Environment) error {
	files, err := fileLimit()
	if err != nil {
		return err
	}
	limits, err := limitsOf(files)
	if err != nil {
		return err
	}
	env.Log.Info("limits", "files", files, "connections", limits.connections, "processes", limits.processes)
	metrics := quoting.NewMetrics(env.Metrics)
	observer := quoting.NewObserver(env.Log, metrics)
	identifier := peer.NewIdentifier(env.Log, peer.Options{KubeletCgroup: h.KubeletCgroup, PodLogs: h.PodLogs, MaxProcesses: limits.processes})
	defer identifier.Close()
	service := quoting.NewService(h.Backend, h.Concurrency, metrics)
	// Beside the socket, the file outlives the pod of the helper: a new quoting enclave
	// comes with a new pod.
	if isPath(h.Socket) {
		service.Remember(targets.Open(h.Socket+".targets", env.Log))
	}

	var handler aesm.Handler = service
	if h.RefuseUnidentified {
		handler = identifiedOnly{service}
	}
	socket, quotes := env.Health.Condition("socket"), env.Health.Condition("quotes")
	checker := newChecker(service, env.Log, quotes)
	owner := &socketOwner{
		path:     h.Socket,
		takeOver: h.TakeOver,
		standBy:  h.StandBy,
		log:      env.Log,
		owned:    socket,
		ready:    checker.ready,
		identify: identifier.Identify,
		metrics:  NewMetrics(env.Metrics),
		server: &aesm.Server{
			Handler:  handler,
			MaxConns: limits.connections,
			Identify: func(conn net.Conn) aesm.Peer {
				observer.Connected()
				return identifier.Identify(conn)
			},
			Observe: func(ctx context.Context, e aesm.Exchange) {
				if e.Peer != nil {
					ctx = daemon.WithSource(ctx, e.Peer.Key())
				}
				observer.Ended(ctx, e)
			},
		},
	}
	checking, stop := context.WithCancel(ctx)
	var checks sync.WaitGroup
	defer checks.Wait()
	defer stop()
	checks.Go(func() { checker.run(checking) })
	return owner.run(ctx)
}

// isPath reports whether a socket has a path. Listening on another one fails.
func isPath(socket string) bool { return socket != "" && socket[0] != '@' }
