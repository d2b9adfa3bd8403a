package aesm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/confcom/confcom/aesm/internal/message"
)

// DefaultSocket is where every AESM client looks for the daemon.
const DefaultSocket = "/var/run/aesmd/aesm.socket"

// What the zero limits of a Server mean.
const (
	defaultMaxConns     = 1024
	defaultIdleTimeout  = 30 * time.Second
	defaultReadTimeout  = 5 * time.Second
	defaultWriteTimeout = 5 * time.Second
	defaultDrainTimeout = 15 * time.Second
)

// cutGrace is how long Serve waits for handlers whose context is done.
const cutGrace = time.Second

// Server serves AESM: one request and one reply on each connection. Its zero
// limits are good ones. The fields must not be changed once Serve was called.
type Server struct {
	// Handler makes the quotes.
	Handler Handler

	// MaxConns bounds the open connections; 0 means 1024. When all are in use, a
	// new one takes the place of the oldest one whose request is not yet here.
	// Where all wait for their reply, the new one waits too.
	MaxConns int
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

	// ConnContext, where set, adds what is known of the peer to the context of a
	// new connection, for Handler and Observe. It must be quick.
	ConnContext func(ctx context.Context, conn net.Conn) context.Context
	// Observe, where set, is told of every connection when it has ended, with its
	// context. It is the place for logs and metrics, and is called from many
	// goroutines at once.
	Observe func(ctx context.Context, exchange Exchange)
}

// Serve answers requests until ctx is done. It then closes the listener and the
// connections that have sent no request, waits for the exchanges in flight, and
// returns nil. Those that are not done after DrainTimeout are cut off, and the
// error says how many they were.
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
	table := newConns(cmp.Or(s.MaxConns, defaultMaxConns))
	shutdown := func() {
		listener.Close()
		table.stop()
	}
	defer context.AfterFunc(ctx, shutdown)()

	var running sync.WaitGroup
	err := s.accept(ctx, listener, table, func(c *conn) {
		running.Go(func() { s.serve(exchanges, table, c) })
	})
	shutdown()

	drained := make(chan struct{})
	go func() {
		running.Wait()
		close(drained)
	}()
	if within(drained, cmp.Or(s.DrainTimeout, defaultDrainTimeout)) {
		return err
	}
	cancel()
	n := table.cut()
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

// accept starts an exchange for every new connection until ctx is done.
func (s *Server) accept(ctx context.Context, listener net.Listener, table *conns, start func(*conn)) error {
	var pause time.Duration
	for {
		nc, err := listener.Accept()
		switch {
		case err == nil:
			pause = 0
			if c := table.add(nc); c != nil {
				start(c)
			} else {
				nc.Close()
			}
		case ctx.Err() != nil:
			return nil
		case !transient(err):
			return fmt.Errorf("aesm: accept on %s: %w", listener.Addr(), err)
		default:
			s.observe(ctx, Exchange{Drop: DropAccept, Err: err})
			table.shed() // its file descriptor is what we need
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			within(ctx.Done(), pause)
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

// serve has one exchange and closes the connection.
func (s *Server) serve(ctx context.Context, table *conns, c *conn) {
	if s.ConnContext != nil {
		ctx = s.ConnContext(ctx, c.Conn)
	}
	exchange := s.exchange(ctx, table, c)
	c.Close()
	table.remove(c)
	s.observe(ctx, exchange)
}

func (s *Server) observe(ctx context.Context, e Exchange) {
	if s.Observe != nil {
		s.Observe(ctx, e)
	}
}

func (s *Server) exchange(ctx context.Context, table *conns, c *conn) (e Exchange) {
	start := time.Now()
	defer func() { e.Duration = time.Since(start) }()

	first := make([]byte, headerSize)
	n, err := s.readFirst(c, first)
	if n > 0 {
		start = time.Now()
	}
	var body []byte
	if err != nil {
		e.Drop, e.Err = dropOf(err, DropProbe, DropIdle), err
	} else {
		body, e.Drop, e.Err = s.readRest(c, first[:n])
	}
	if closed := table.arrived(c); closed != NotDropped {
		e.Drop = closed
	}
	if e.Drop != NotDropped {
		return e
	}

	req, kind, err := parseRequest(body)
	if err != nil {
		e.Drop, e.Err = DropMalformed, err
		return e
	}
	e.Kind = kind
	res, err := answer(ctx, s.Handler, kind, req)
	e.Code, e.Err = codeOf(err), err
	if err := s.write(c, res); err != nil {
		e.Drop, e.Err = DropWrite, errors.Join(err, e.Err)
		if closed := table.arrived(c); closed != NotDropped {
			e.Drop = closed
		}
	}
	return e
}

// readFirst waits for the first bytes of a request.
func (s *Server) readFirst(c *conn, p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(cmp.Or(s.IdleTimeout, defaultIdleTimeout))); err != nil {
		return 0, err
	}
	n, err := c.Read(p)
	if n > 0 {
		err = nil
	}
	return n, err
}

// readRest reads what follows the first bytes and returns the message, or why
// there is none.
func (s *Server) readRest(c *conn, first []byte) ([]byte, Drop, error) {
	if err := c.SetReadDeadline(time.Now().Add(cmp.Or(s.ReadTimeout, defaultReadTimeout))); err != nil {
		return nil, DropTruncated, err
	}
	size, err := readHeader(io.MultiReader(bytes.NewReader(first), c))
	if err != nil {
		return nil, dropOf(err, DropProbe, DropSlow), err
	}
	if size > MaxRequestFrame {
		return nil, DropTooLarge, fmt.Errorf("aesm: the header announces a request of %d bytes, the limit is %d", size, MaxRequestFrame)
	}
	body, err := readBody(c, size)
	if err != nil {
		return nil, dropOf(err, DropTruncated, DropSlow), err
	}
	return body, NotDropped, nil
}

// dropOf says why a read failed: the peer went, or its time was up.
func dropOf(err error, gone, late Drop) Drop {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return late
	}
	return gone
}

// write sends a reply in one piece.
func (s *Server) write(c *conn, m *message.Response) error {
	b, err := frame(m)
	if err != nil {
		return err
	}
	if err := c.SetWriteDeadline(time.Now().Add(cmp.Or(s.WriteTimeout, defaultWriteTimeout))); err != nil {
		return err
	}
	if _, err := c.Write(b); err != nil {
		return fmt.Errorf("aesm: write reply: %w", err)
	}
	return nil
}
