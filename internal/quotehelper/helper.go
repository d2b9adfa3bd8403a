// Package quotehelper is the daemon that serves the quotes of a node: a socket,
// the quote service behind it, and a word to the log, the metrics and the probes
// about all that happens.
//
// The socket is the one thing that clients know, so the daemon takes care that
// there always is one. It is put in place by renaming, over that of an earlier
// daemon or a dead one; if its file is removed, there is another within a second;
// and a daemon that was replaced serves whoever has come to it before.
package quotehelper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/peer"
	"github.com/confcom/confcom/internal/quoting"
)

// Helper serves the quotes of a platform.
type Helper struct {
	Backend quoting.Backend
	Slots   int    // how many requests the platform serves at a time
	Socket  string // the path of the socket
	// TakeOver is to take the socket from a daemon that is alive, as soon as the
	// platform can quote.
	TakeOver bool
	// StandBy is to wait, once another daemon has taken the socket, and to take it
	// again should that one die. Otherwise that is the end of Run.
	StandBy bool
}

const (
	// lookInterval is the time between two looks at whose the socket is.
	lookInterval = 500 * time.Millisecond

	// checkInterval is the time between two checks whether there are quotes, and
	// recheckInterval that after a check that failed.
	checkInterval   = 10 * time.Second
	recheckInterval = time.Second
)

// Run serves until ctx is done or, without StandBy, another daemon has taken the
// socket. It then serves those who have connected before, and returns nil. An
// error says why there can be no socket.
func (h *Helper) Run(ctx context.Context, env *daemon.Environment) error {
	metrics := quoting.NewMetrics(env.Metrics)
	observer := quoting.NewObserver(env.Log, metrics)
	identifier := peer.NewIdentifier(env.Log)
	defer identifier.Close()
	service := quoting.NewService(h.Backend, h.Slots, metrics)
	k := &keeper{
		Helper: h,
		log:    env.Log,
		socket: env.Health.Condition("socket"),
		quotes: env.Health.Condition("quotes"),
		able:   make(chan struct{}),
		server: &aesm.Server{
			Handler: service,
			Identify: func(conn net.Conn) aesm.Peer {
				observer.Connected()
				return identifier.Identify(conn)
			},
			Observe: observer.Ended,
		},
	}
	checking, stop := context.WithCancel(ctx)
	var checks sync.WaitGroup
	defer checks.Wait()
	defer stop()
	checks.Go(func() { k.check(checking, service) })
	return k.keep(ctx)
}

// keeper keeps a socket in place and tells whether there are quotes.
type keeper struct {
	*Helper
	log            *slog.Logger
	socket, quotes *daemon.Condition
	server         *aesm.Server

	able     chan struct{} // closed once a check has succeeded
	draining sync.WaitGroup
}

// check finds out every now and then whether there are quotes, until ctx is done.
func (k *keeper) check(ctx context.Context, service *quoting.Service) {
	able := sync.OnceFunc(func() { close(k.able) })
	failing := false
	for {
		err := service.Check(ctx)
		if ctx.Err() != nil {
			return
		}
		k.quotes.Set(err)
		interval := checkInterval
		switch {
		case err != nil:
			interval = recheckInterval
			if !failing {
				k.log.Warn("there are no quotes", "error", err)
			}
		case failing:
			k.log.Info("there are quotes again")
		}
		if err == nil {
			able()
		}
		failing = err != nil
		if !pause(ctx, interval) {
			return
		}
	}
}

// keep serves on one socket after another, until ctx is done or another daemon
// has the socket for good.
func (k *keeper) keep(ctx context.Context) error {
	defer k.draining.Wait()
	listener, err := k.first(ctx)
	for err == nil && listener != nil {
		k.log.Info("serving quotes", "socket", k.Socket)
		k.socket.Set(nil)
		if err := k.serve(ctx, listener); err != nil || ctx.Err() != nil {
			return err
		}
		listener, err = k.again(ctx)
	}
	return err
}

// first puts a socket in place for the first time: over that of a live daemon
// only where it is to be taken over, once there are quotes here. It is nil when
// ctx is done before.
func (k *keeper) first(ctx context.Context) (*aesm.Listener, error) {
	for waited := false; ; waited = true {
		listener, err := aesm.Listen(k.Socket)
		switch {
		case !errors.Is(err, aesm.ErrInUse):
			return listener, err
		case !k.TakeOver:
			return nil, fmt.Errorf("%w (--takeover takes over)", err)
		}
		if !waited {
			k.log.Info("another daemon serves the socket: it is taken over once there are quotes here", "socket", k.Socket)
			k.socket.Set(errors.New("another daemon serves it"))
		}
		select {
		case <-k.able:
			return aesm.TakeOver(k.Socket)
		default:
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-k.able:
		case <-time.After(lookInterval):
		}
	}
}

// again puts a socket in place after the last one has lost its path. While another
// daemon serves there, it waits for that one to die, or is nil without StandBy.
// It is nil, too, when ctx is done before.
func (k *keeper) again(ctx context.Context) (*aesm.Listener, error) {
	for waited := false; ; waited = true {
		listener, err := aesm.Listen(k.Socket)
		switch {
		case err == nil:
			k.log.Warn("nobody served the socket any more: its file was removed, or its daemon died", "socket", k.Socket)
			return listener, nil
		case !errors.Is(err, aesm.ErrInUse):
			return nil, err
		case !waited:
			k.log.Info("another daemon has taken the socket", "socket", k.Socket, "standingBy", k.StandBy)
			k.socket.Set(errors.New("another daemon serves it"))
		}
		if !k.StandBy || !pause(ctx, lookInterval) {
			return nil, nil
		}
	}
}

// serve serves on a listener until ctx is done, or the socket's path does not
// lead to it any more: it then goes on in the background with those that have
// connected before.
func (k *keeper) serve(ctx context.Context, listener *aesm.Listener) error {
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	k.draining.Go(func() {
		err := k.server.Serve(serving, listener)
		if serving.Err() != nil && err != nil {
			k.log.Warn("not all that was asked for was served", "error", err)
			err = nil
		}
		served <- err
	})
	defer stop()
	for {
		select {
		case err := <-served:
			return err
		case <-time.After(lookInterval):
			if ctx.Err() == nil && !listener.Current() {
				return nil
			}
		}
	}
}

// pause waits, unless ctx is done before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
