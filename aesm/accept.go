package aesm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// backlogged is a listener whose backlog can be drained, as a Listener's can.
type backlogged interface {
	Withdraw() error
	SetDeadline(time.Time) error
}

// withdraw lets no more clients connect, as the first step of stopping. Connections
// that wait to be accepted are still served if the listener is backlogged.
func (s *serving) withdraw() {
	s.impatience.Reset(backlogLimit)
	l, ok := s.listener.(backlogged)
	if !ok {
		s.listener.Close()
		return
	}
	_ = l.Withdraw() // if this fails, clients find a dead socket, which is no worse
	_ = l.SetDeadline(time.Now().Add(s.grace))
}

// accept starts an exchange for every new connection until ctx is done, and for
// those in the backlog by then.
func (s *serving) accept(ctx context.Context) error {
	var pause time.Duration
	var stopping time.Time // when accept first saw that ctx is done
	for {
		socket, err := s.listener.Accept()
		switch {
		case err == nil:
			pause = 0
			s.start(socket)
			if l, ok := s.listener.(backlogged); ok && ctx.Err() != nil {
				if stopping.IsZero() {
					stopping = time.Now()
				}
				if time.Since(stopping) > backlogLimit {
					return nil
				}
				_ = l.SetDeadline(time.Now().Add(s.grace))
			}
		case transient(err) && (pause < maxAcceptPause || ctx.Err() == nil): // a stopping server does not retry forever
			s.observe(Exchange{Drop: DropAccept, Err: err})
			s.conns.shed() // to free a file descriptor
			pause = min(max(2*pause, 5*time.Millisecond), maxAcceptPause)
			time.Sleep(pause)
		case ctx.Err() != nil:
			return nil
		default:
			return fmt.Errorf("aesm: accept on %s: %w", s.listener.Addr(), err)
		}
	}
}

// transient reports whether accept may succeed later.
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

// start hands a new connection to a resting goroutine, or else to a new one.
func (s *serving) start(socket net.Conn) {
	caller := Caller{socket: socket}
	if s.Identify != nil {
		caller.Peer = s.Identify(socket)
	}
	c, refused := s.conns.add(caller)
	if c == nil {
		socket.Close()
		s.observe(Exchange{Peer: caller.Peer, Drop: refused})
		return
	}
	select {
	case s.next <- c:
	default:
		s.running.Go(func() { s.work(c) })
	}
}

// work serves a connection, and then rests until it gets another. A goroutine that
// has served one already has a stack of the right size, which a new one would have
// to grow.
//
// By the time it has served a connection, the reply on the one before was usually read.
func (s *serving) work(c *conn) {
	var before *conn // kept with an unread reply
	for c != nil {
		kept := s.serve(c)
		if before != nil {
			s.conns.release(before)
		}
		if before = nil; kept {
			before = c
		}
		if s.resting.Add(1) > maxResting {
			s.resting.Add(-1)
			return
		}
		c = <-s.next
		s.resting.Add(-1)
	}
}
