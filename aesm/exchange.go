package aesm

import (
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/confcom/confcom/aesm/internal/message"
	"github.com/confcom/confcom/sgx"
)

// Exchange describes how a connection to a Server went.
type Exchange struct {
	// Peer is what Server.Identify returned for the connection.
	Peer Peer
	// Kind is the kind of the request, 0 if none was understood.
	Kind Kind
	// Probe reports whether the client has marked the request as a check whether the
	// daemon answers. Any client can, except for a request for a quote.
	Probe bool
	// Code is the code of the reply. It has no meaning for a dropped connection.
	Code Code
	// Err is the cause of Code or Drop, nil on success.
	Err error
	// Drop is why there was no reply, NotDropped if there was one.
	Drop Drop
	// Report is the report that a quote was requested for, nil if none was. Unless
	// the quote was made, nobody has checked who made the report.
	Report *sgx.Report
	// Duration is the time from the first byte of the request, or from accept if
	// none arrived, to the end.
	Duration time.Duration
}

// serve reads one request, answers it and closes the connection. It reports whether it
// has kept the connection instead, since the reply is unread.
func (s *serving) serve(c *conn) (kept bool) {
	exchange := s.exchange(c)
	kept = exchange.Kind != 0 && s.conns.keep(c) // without a kind, there is no reply
	if !kept {
		c.caller.socket.Close()
		s.conns.remove(c)
	}
	s.observe(exchange)
	return kept
}

func (s *serving) observe(e Exchange) {
	if s.Observe != nil {
		s.Observe(s.ctx, e)
	}
}

func (s *serving) exchange(c *conn) (e Exchange) {
	start := time.Now()
	e.Peer = c.caller.Peer
	defer func() {
		if v := recover(); v != nil {
			e.Drop, e.Err = DropMalformed, &PanicError{Value: v, Stack: debug.Stack()}
		}
		e.Duration += time.Since(start)
	}()
	if c.room != nil {
		if e.Drop = s.conns.enter(c); e.Drop != NotDropped {
			return e
		}
		e.Duration = time.Since(start) // its client has waited
		start = time.Now()
	}

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
	e.Probe = req.GetProbe() && req.kind != KindGetQuoteEx && req.kind != KindGetQuote
	drop, busy := s.conns.owe(c, replyMemory(req))
	if drop != NotDropped {
		e.Drop, e.Err = drop, busy
		return e
	}

	var res *message.Response
	if err = busy; busy != nil {
		res = refusal(req, CodeBusy)
	} else {
		res, err = answer(s.ctx, c.caller, s.Handler, req, &s.replies)
		defer s.replies.put(res.GetGetQuoteEx().GetQuote())
	}
	e.Code, e.Err, e.Report = codeOf(err), err, req.report
	if err := s.reply(c, res); err != nil {
		e.Drop, e.Err = DropWrite, errors.Join(err, e.Err)
		if closed := s.conns.state(c); closed != NotDropped {
			e.Drop = closed
		}
	}
	return e
}

// reply sends a reply in one write.
func (s *serving) reply(c *conn, m *message.Response) error {
	buffer := s.replies.get()
	defer s.replies.put(buffer)
	b, err := appendFrame(buffer[:0], m)
	if err != nil {
		return err
	}
	if err := c.caller.socket.SetWriteDeadline(time.Now().Add(cmp.Or(s.WriteTimeout, defaultWriteTimeout))); err != nil {
		return err
	}
	if _, err := c.caller.socket.Write(b); err != nil {
		return fmt.Errorf("aesm: write reply: %w", err)
	}
	return nil
}
