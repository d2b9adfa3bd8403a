package aesm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultSocket is the path at which every AESM client expects the daemon's socket.
const DefaultSocket = "/var/run/aesmd/aesm.socket"

// Values of the zero limits of a Server.
const (
	defaultMaxConns     = 4096
	defaultMaxBytes     = 32 << 20
	defaultMaxReplies   = 48 << 20
	defaultIdleTimeout  = 30 * time.Second
	defaultReadTimeout  = 5 * time.Second
	defaultWriteTimeout = 5 * time.Second
	defaultDrainTimeout = 15 * time.Second

	// peerShare is the divisor for one peer's part of a limit, if peers are
	// identified.
	peerShare = 4
	// restrictedShare is that divisor for a RestrictedPeer.
	restrictedShare = 64
)

const (
	// backlogGrace is how long a stopping Serve waits for the next connection that
	// was made before the socket was withdrawn.
	backlogGrace = 100 * time.Millisecond
	// backlogLimit bounds how long a stopping Serve accepts connections at all: the
	// socket may have other names, through which clients still connect.
	backlogLimit = 10 * time.Second
	// requestGrace is how long a stopping Serve waits for requests that have not
	// arrived yet. Clients send theirs as soon as they are connected.
	requestGrace = time.Second
	// cutGrace is how long Serve waits for handlers whose context is done.
	cutGrace = time.Second
	// maxAcceptPause is the longest pause between two attempts to accept after a
	// transient error.
	maxAcceptPause = time.Second
	// maxResting bounds the goroutines that wait for the next connection.
	maxResting = 64
)

// Server serves AESM: one request and one reply on each connection. The zero limits
// are good defaults. The fields must not be changed after Serve was called.
type Server struct {
	// Handler makes the quotes.
	Handler Handler

	// MaxConns bounds the open connections; 0 means 4096. When all are in use, a
	// new one replaces the oldest one whose request has not arrived yet, preferably
	// of the peer with the most connections. If all of them wait for their reply,
	// the new one waits for one to end.
	MaxConns int
	// MaxBytes bounds the memory for requests of more than 4 KiB, which no
	// well-known client sends; 0 means 32 MiB. When all of it is in use, the oldest
	// connections that have sent only a part of such a request are closed. If that
	// does not free enough, the new request is refused.
	MaxBytes int
	// MaxReplyBytes bounds the kernel's memory for replies that clients have not read
	// yet; 0 means 48 MiB. A connection counts against its peer until the client has
	// read the reply or has closed its end. A peer gets at most a quarter of what others
	// have left, in bytes and in number of connections. Nobody gets the last eighth, and
	// the quarter before it is for peers that hold less than 1/512. A request beyond
	// that waits for replies to be read, for up to 4 seconds; then it is answered with
	// CodeBusy, or dropped if the peer does not read these answers either. This needs
	// connections that a Listener has accepted, or other unix sockets; on others, replies
	// count until they are written.
	MaxReplyBytes int
	// IdleTimeout bounds the wait for the first byte; 0 means 30 seconds.
	IdleTimeout time.Duration
	// ReadTimeout bounds the time from the first to the last byte of a request;
	// 0 means 5 seconds.
	ReadTimeout time.Duration
	// WriteTimeout bounds the writing of a reply; 0 means 5 seconds.
	WriteTimeout time.Duration
	// DrainTimeout bounds how long a stopping Serve waits for the exchanges in
	// flight; 0 means 15 seconds, after which no client waits any more.
	DrainTimeout time.Duration

	// Identify, where set, identifies the peer of each new connection, for Handler
	// and Observe. One peer then gets at most a quarter of MaxConns and of MaxBytes (a
	// RestrictedPeer less). A new connection of a peer at its limit waits for one of its
	// own to end, for up to 4 seconds; then, or if as many wait already, it replaces the
	// oldest one whose request has not arrived. All connections for which Identify
	// returns nil count as one peer's. It must be quick.
	Identify func(conn net.Conn) Peer
	// Observe, where set, is called after a connection has ended. It is the place
	// for logs and metrics. Its context has the values of the one that Serve was
	// called with. It is called from many goroutines at once.
	Observe func(ctx context.Context, exchange Exchange)
}

// Serve answers requests until ctx is done. It then withdraws the socket, serves
// the connections that were made before, and returns nil. Connections whose request
// does not arrive within a second are closed. Exchanges that have not ended after
// DrainTimeout are cut off, and the error says how many there were.
//
// If accept fails for lack of file descriptors or memory, Serve retries. Any other
// failure of the listener ends Serve with an error, after the same drain.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	return s.serve(ctx, listener, backlogGrace)
}

// serve is Serve with another backlogGrace, which tests shorten.
func (s *Server) serve(ctx context.Context, listener net.Listener, grace time.Duration) error {
	defer listener.Close()
	if s.Handler == nil {
		return errors.New("aesm: a Server needs a Handler")
	}
	exchanges, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	all := usage{cmp.Or(s.MaxConns, defaultMaxConns), cmp.Or(s.MaxBytes, defaultMaxBytes)}
	owed := usage{all.conns, cmp.Or(s.MaxReplyBytes, defaultMaxReplies)}
	serving := &serving{
		Server:   s,
		ctx:      exchanges,
		listener: listener,
		grace:    grace,
		conns:    newConns(all, owed, s.Identify != nil),
		requests: buffers{size: requestBuffer},
		replies:  buffers{size: replyBuffer},
		next:     make(chan *conn),
	}
	defer serving.conns.end()

	serving.impatience = time.AfterFunc(math.MaxInt64, serving.conns.refuseWhenFull)
	defer serving.impatience.Stop()
	running := context.AfterFunc(ctx, serving.withdraw)
	err := serving.accept(ctx)
	if running() {
		serving.withdraw()
	}
	listener.Close()
	close(serving.next)
	serving.conns.stop(time.Now().Add(requestGrace))

	drained := make(chan struct{})
	go func() {
		serving.running.Wait()
		close(drained)
	}()
	if within(drained, cmp.Or(s.DrainTimeout, defaultDrainTimeout)) {
		return err
	}
	cancel()
	n := serving.conns.cut()
	if !within(drained, cutGrace) {
		return errors.Join(err, fmt.Errorf("aesm: stopped with %d exchanges in flight, whose handlers ignore their context", n))
	}
	return errors.Join(err, fmt.Errorf("aesm: stopped with %d exchanges in flight, which were cut off", n))
}

// within waits for done, for at most d, and reports whether it was done in time.
func within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// serving is the state of a call of Serve.
type serving struct {
	*Server
	ctx      context.Context // of the exchanges
	listener net.Listener
	grace    time.Duration // see backlogGrace
	conns    *conns
	requests buffers
	replies  buffers

	impatience *time.Timer // fires backlogLimit after the server was stopped

	running sync.WaitGroup // the goroutines that serve connections
	next    chan *conn     // hands connections to resting goroutines
	resting atomic.Int32
}
