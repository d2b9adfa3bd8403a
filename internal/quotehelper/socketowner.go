package quotehelper

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/peer"
)

// pollInterval is the time between two checks of which daemon owns the socket.
const pollInterval = 500 * time.Millisecond

// errOtherDaemon is the state of the socket while another daemon serves it.
var errOtherDaemon = errors.New("another daemon serves it")

// socketOwner keeps a socket in place and serves on it.
type socketOwner struct {
	path     string
	takeOver bool
	standBy  bool
	log      *slog.Logger
	owned    *daemon.Condition
	ready    <-chan struct{} // closed once quotes can be made
	server   *aesm.Server
	identify func(net.Conn) peer.Peer
	metrics  *Metrics

	draining sync.WaitGroup
}

// run serves on one socket after another, until ctx is done or another daemon has the
// socket for good.
func (o *socketOwner) run(ctx context.Context) error {
	defer o.draining.Wait()
	listener, err := o.claim(ctx)
	for err == nil && listener != nil {
		o.log.Info("serving quotes", "socket", o.path)
		o.owned.Set(nil)
		if err := o.serve(ctx, listener); err != nil || ctx.Err() != nil {
			return err
		}
		listener, err = o.reclaim(ctx)
	}
	return err
}

// claim puts the socket in place for the first time. It replaces that of a running
// daemon only with takeOver, and only once quotes can be made. The listener is nil if
// ctx is done before.
func (o *socketOwner) claim(ctx context.Context) (*aesm.Listener, error) {
	for waited := false; ; waited = true {
		listener, err := aesm.Listen(o.path)
		if !errors.Is(err, aesm.ErrInUse) || !o.takeOver {
			return listener, err
		}
		if !waited {
			other := o.meet()
			o.log.Log(ctx, other.level(), "another daemon serves the socket: taking over once quotes can be made", "socket", o.path, "daemon", other)
		}
		select {
		case <-o.ready:
			return aesm.TakeOver(o.path)
		default:
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-o.ready:
		case <-time.After(pollInterval):
		}
	}
}

// reclaim puts the socket in place again after it has lost its path. While another
// daemon serves there, reclaim waits for that daemon to hand the path over or to die; without
// standBy, the listener is nil instead. It is also nil if ctx is done before.
func (o *socketOwner) reclaim(ctx context.Context) (*aesm.Listener, error) {
	var standBy *aesm.Listener // what the other daemon hands the path over to
	defer func() {
		if standBy != nil {
			standBy.Close()
		}
	}()
	waiting := sync.OnceFunc(func() {
		if o.standBy {
			var err error
			if standBy, err = aesm.StandBy(o.path); err != nil {
				o.log.Warn("cannot be handed the socket: when the other daemon ends, there is none for a moment", "socket", o.path, "error", err)
			}
		}
		other := o.meet()
		o.log.Log(ctx, other.level(), "another daemon has taken over the socket", "socket", o.path, "daemon", other, "standingBy", o.standBy)
	})
	handed := false
	listener, err := backoff.Retry(ctx, func() (*aesm.Listener, error) {
		if standBy != nil && standBy.Current() {
			listener := standBy
			standBy, handed = nil, true
			return listener, nil
		}
		listener, err := aesm.Listen(o.path)
		if errors.Is(err, aesm.ErrInUse) {
			if waiting(); o.standBy {
				return nil, err
			}
		}
		if err != nil {
			err = backoff.Permanent(err)
		}
		return listener, err
	}, backoff.WithBackOff(backoff.NewConstantBackOff(pollInterval)), backoff.WithMaxElapsedTime(0))
	switch {
	case handed:
		o.log.Info("the other daemon has handed the socket over", "socket", o.path)
		return listener, nil
	case err == nil:
		o.log.Warn("socket file was missing or stale: listening again", "socket", o.path)
		return listener, nil
	case errors.Is(err, aesm.ErrInUse) || errors.Is(err, context.Cause(ctx)):
		return nil, nil
	}
	return nil, err
}

// serve serves on a listener until ctx is done or the path leads to another socket. In
// the latter case it finishes the connections made before in the background.
func (o *socketOwner) serve(ctx context.Context, listener *aesm.Listener) error {
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	o.draining.Go(func() {
		err := o.server.Serve(serving, listener)
		if serving.Err() != nil && err != nil {
			o.log.Warn("stopped with requests unanswered", "error", err)
			err = nil
		}
		served <- err
	})
	probing, endProbing := context.WithCancel(ctx)
	var probes sync.WaitGroup
	probes.Go(func() { probeSocket(probing, o.path, o.owned, o.log) })
	defer probes.Wait()
	defer endProbing()
	defer stop()
	for {
		select {
		case err := <-served:
			return err
		case <-time.After(pollInterval):
			if ctx.Err() == nil && !listener.Current() {
				return nil
			}
		}
	}
}
