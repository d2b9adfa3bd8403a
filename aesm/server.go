package aesm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/confcom/confcom/aesm/internal/message"
)

// DefaultSocket is where every AESM client looks for the daemon.
const DefaultSocket = "/var/run/aesmd/aesm.socket"

// What the zero limits of a Server mean.
const (
	defaultMaxConns     = 4096
	defaultMaxBytes     = 32 << 20
	defaultIdleTimeout  = 30 * time.Second
	defaultReadTimeout  = 5 * time.Second
	defaultWriteTimeout = 5 * time.Second
	defaultDrainTimeout = 15 * time.Second
	defaultBacklogGrace = 100 * time.Millisecond

	// peerShare is what part of a limit one peer may have, where Identify tells
	// them apart.
	peerShare = 4
)

const (
	// cutGrace is how long Serve waits for handlers whose context is done.
	cutGrace = time.Second
	// requestGrace is how long a stopping Serve waits for requests that are not
	// yet here. Clients send theirs as soon as they are connected.
	requestGrace = time.Second
	// backlogLimit is how long a stopping Serve accepts connections at all: the
	// socket can have other names, by which clients still come.
	backlogLimit = 10 * time.Second
	// maxAcceptPause is the longest time between two attempts to accept after a
	// failure that may pass.
	maxAcceptPause = time.Second
	// maxResting is how many goroutines wait for the next connection.
	maxResting = 64
)

// Server serves AESM: one request and one reply on each connection. Its zero
// limits are good ones. The fields must not be changed once Serve was called.
type Server struct {
	// Handler makes the quotes.
	Handler Handler

	// MaxConns bounds the open connections; 0 means 4096. When all are in use, a
	// new one takes the place of the oldest one whose request is not yet here, of
	// the peer that has the most if possible. Where all wait for their reply, the
	// new one waits too.
	MaxConns int
	// MaxBytes bounds the memory for requests of more than 4 KiB, which none of a
	// well-known client has; 0 means 32 MiB. When all is in use, the oldest
	// connections go that have sent a part of such a request only. Where that does
	// not help, a new one is refused.
	MaxBytes int
	// IdleTimeout bounds the wait for the first byte; 0 means 30 seconds.
	IdleTimeout time.Duration
	// ReadTimeout bounds the time from the first to the last byte of a request;
	// 0 means 5 seconds.
	ReadTimeout time.Duration
	// WriteTimeout bounds the writing of a reply; 0 means 5 seconds.
	WriteTimeout time.Duration
	// DrainTimeout bounds how long Serve, once stopped, waits for the exchanges
	// in flight; 0 means 15 seconds, after which no client waits any more.
	DrainTimeout time.Duration

	// Identify, where set, identifies the peer of each new connection, for Handler
	// and Observe. One peer has at most a quarter of MaxConns and of MaxBytes, and
	// makes room for itself first; all for which Identify returns nil count as one.
	// It must be quick.
	Identify func(conn net.Conn) Peer
	// Observe, where set, is called when a connection has ended. It is the place
	// for logs and metrics. Its context has the values of the one that Serve was
	// called with. It is called from many goroutines at once.
	Observe func(ctx context.Context, exchange Exchange)

	// backlogGrace is how long a stopping Serve waits for the next connection
	// that was made before the socket was withdrawn. Tests are in a hurry.
	backlogGrace time.Duration
}

// Serve answers requests until ctx is done. It then withdraws the socket, serves
// the connections that were made before, and returns nil. Connections whose
// request does not come within a second are closed. Exchanges that are not done
// after DrainTimeout are cut off, and the error says how many they were.
//
// A listener that fails for lack of file descriptors or memory is tried again;
// any other failure ends Serve with an error, after the same wait.
//
// The context of a handler has the values of ctx, and is done when the exchange
// is cut off.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	defer listener.Close()
	if s.Handler == nil {
		return errors.New("aesm: a Server needs a Handler")
	}
	exchanges, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	all := usage{cmp.Or(s.MaxConns, defaultMaxConns), cmp.Or(s.MaxBytes, defaultMaxBytes)}
	each := usage{math.MaxInt, math.MaxInt}
	if s.Identify != nil {
		each = usage{max(all.conns/peerShare, 1), all.bytes / peerShare}
	}
	serving := &serving{
		Server:   s,
		ctx:      exchanges,
		listener: listener,
		conns:    newConns(all, each),
		requests: buffers{size: requestBuffer},
		replies:  buffers{size: replyBuffer},
		next:     make(chan *conn),
	}

	serving.impatience = time.AfterFunc(math.MaxInt64, serving.conns.waitNoMore)
	defer serving.impatience.Stop()
	forget := context.AfterFunc(ctx, serving.withdraw)
	err := serving.accept(ctx)
	if forget() {
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
		return errors.Join(err, fmt.Errorf("aesm: stopped with %d exchanges in flight, whose handler does not heed its context", n))
	}
	return errors.Join(err, fmt.Errorf("aesm: stopped with %d exchanges in flight, which were cut off", n))
}

// within waits for done, but no longer than d.
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

// serving is a call of Serve.
type serving struct {
	*Server
	ctx      context.Context // of the exchanges
	listener net.Listener
	conns    *conns
	requests buffers
	replies  buffers

	impatience *time.Timer // has new connections wait for others no more

	running sync.WaitGroup // the goroutines that serve connections
	next    chan *conn     // hands connections to those that rest
	resting atomic.Int32
}

// backlogged is a listener that can be drained: Listener.
type backlogged interface {
	Withdraw() error
	SetDeadline(time.Time) error
}

// withdraw lets no more clients connect, as the beginning of the end. Those that
// wait to be accepted are served all the same, where the listener can tell.
func (s *serving) withdraw() {
	s.impatience.Reset(backlogLimit)
	l, ok := s.listener.(backlogged)
	if !ok {
		s.listener.Close()
		return
	}
	_ = l.Withdraw() // clients then find a dead socket, which is no worse
	_ = l.SetDeadline(time.Now().Add(cmp.Or(s.backlogGrace, defaultBacklogGrace)))
}

// accept starts an exchange for every new connection until ctx is done, and for
// those that wait by then.
func (s *serving) accept(ctx context.Context) error {
	var pause time.Duration
	var stopping time.Time // since when it has been, as far as was seen
	for {
		nc, err := s.listener.Accept()
		switch {
		case err == nil:
			pause = 0
			s.start(nc)
			if l, ok := s.listener.(backlogged); ok && ctx.Err() != nil {
				if stopping.IsZero() {
					stopping = time.Now()
				}
				if time.Since(stopping) > backlogLimit {
					return nil
				}
				_ = l.SetDeadline(time.Now().Add(cmp.Or(s.backlogGrace, defaultBacklogGrace)))
			}
		case transient(err) && (pause < maxAcceptPause || ctx.Err() == nil): // a stopping server does not try for ever
			s.observe(Exchange{Drop: DropAccept, Err: err})
			s.conns.shed() // its file descriptor is what we need
			pause = min(max(2*pause, 5*time.Millisecond), maxAcceptPause)
			time.Sleep(pause)
		case ctx.Err() != nil:
			return nil
		default:
			return fmt.Errorf("aesm: accept on %s: %w", s.listener.Addr(), err)
		}
	}
}

// transient tells whether accept may succeed later.
func transient(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// start has an exchange on a goroutine of its own.
func (s *serving) start(nc net.Conn) {
	caller := Caller{socket: nc}
	if s.Identify != nil {
		caller.Peer = s.Identify(nc)
	}
	c, refused := s.conns.add(caller)
	if c == nil {
		nc.Close()
		s.observe(Exchange{Peer: caller.Peer, Drop: refused})
		return
	}
	select {
	case s.next <- c:
	default:
		s.running.Go(func() { s.work(c) })
	}
}

// work serves a connection, and then others that come. A goroutine that has
// served one has the stack that it takes, which a new one has to grow.
func (s *serving) work(c *conn) {
	for c != nil {
		s.serve(c)
		if s.resting.Add(1) > maxResting {
			s.resting.Add(-1)
			return
		}
		c = <-s.next
		s.resting.Add(-1)
	}
}

// serve has one exchange and closes the connection.
func (s *serving) serve(c *conn) {
	exchange := s.exchange(c)
	c.socket.Close()
	s.conns.remove(c)
	s.observe(exchange)
}

func (s *serving) observe(e Exchange) {
	if s.Observe != nil {
		s.Observe(s.ctx, e)
	}
}

func (s *serving) exchange(c *conn) (e Exchange) {
	start := time.Now()
	e.Peer = c.Caller.Peer
	defer func() {
		if v := recover(); v != nil {
			e.Drop, e.Err = DropMalformed, &PanicError{Value: v, Stack: debug.Stack()}
		}
		e.Duration = time.Since(start)
	}()

	req, err := s.request(c, &start)
	if err != nil {
		drop, _ := errors.AsType[*dropError](err)
		e.Drop, e.Err = drop.why, drop.err
		if closed := s.conns.arrived(c); closed != NotDropped {
			e.Drop = closed
		}
		return e
	}
	e.Kind = req.kind
	if closed := s.conns.arrived(c); closed != NotDropped {
		e.Drop = closed
		return e
	}

	res, err := answer(s.ctx, c.Caller, s.Handler, req, &s.replies)
	defer s.replies.put(res.GetGetQuoteEx().GetQuote())
	e.Code, e.Err, e.Report = codeOf(err), err, req.report
	if err := s.reply(c, res); err != nil {
		e.Drop, e.Err = DropWrite, errors.Join(err, e.Err)
		if closed := s.conns.state(c); closed != NotDropped {
			e.Drop = closed
		}
	}
	return e
}

// reply sends a reply in one piece.
func (s *serving) reply(c *conn, m *message.Response) error {
	buffer := s.replies.get()
	defer s.replies.put(buffer)
	b, err := appendFrame(buffer[:0], m)
	if err != nil {
		return err
	}
	if err := c.socket.SetWriteDeadline(time.Now().Add(cmp.Or(s.WriteTimeout, defaultWriteTimeout))); err != nil {
		return err
	}
	if _, err := c.socket.Write(b); err != nil {
		return fmt.Errorf("aesm: write reply: %w", err)
	}
	return nil
}
