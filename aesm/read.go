package aesm

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// dropError is why there is no request on a connection.
type dropError struct {
	why Drop
	err error
}

func (e *dropError) Error() string { return e.err.Error() }

// request reads the request of a connection. Its error is a *dropError. If it had
// to wait for the first byte, it sets start to when that arrived.
func (s *serving) request(c *conn, start *time.Time) (*request, error) {
	buffer := s.requests.get()
	defer func() { s.requests.put(buffer) }()

	n, err, done := tryRead(c.caller.socket, buffer)
	if !done {
		// The wait may be long, so others may use the buffer meanwhile.
		s.requests.put(buffer)
		first := make([]byte, headerSize)
		n, err = s.readFirst(c, first)
		if n > 0 {
			*start = time.Now()
		}
		buffer = s.requests.get()
		copy(buffer, first[:n])
	}
	if n == 0 {
		return nil, s.dropOf(err, DropProbe, DropIdle)
	}
	message, err := s.readRest(c, buffer, n, *start)
	if err != nil {
		return nil, err
	}
	req, err := parseRequest(message)
	if err != nil {
		return nil, &dropError{DropMalformed, err}
	}
	return req, nil
}

// tryRead reads what has already arrived. If nothing has, or if the connection
// cannot be read without waiting, done is false.
func tryRead(c net.Conn, p []byte) (n int, err error, done bool) {
	if c, ok := c.(interface {
		tryRead(p []byte) (n int, err error, done bool)
	}); ok {
		return c.tryRead(p)
	}
	return 0, nil, false
}

// readFirst waits for the first bytes of a request.
func (s *serving) readFirst(c *conn, p []byte) (int, error) {
	if err := s.conns.readBy(c, time.Now().Add(cmp.Or(s.IdleTimeout, defaultIdleTimeout))); err != nil {
		return 0, err
	}
	return c.caller.socket.Read(p)
}

// readRest reads the rest of a frame whose first n bytes are in buffer, and returns
// its message. The message is in buffer if it fits.
func (s *serving) readRest(c *conn, buffer []byte, n int, start time.Time) ([]byte, error) {
	deadline := start.Add(cmp.Or(s.ReadTimeout, defaultReadTimeout))
	if n < headerSize {
		m, err := s.readMissing(c, buffer[n:], headerSize-n, deadline)
		if err != nil {
			return nil, s.dropOf(err, DropProbe, DropSlow)
		}
		n += m
	}
	size := binary.LittleEndian.Uint32(buffer)
	if size > MaxRequestFrame {
		return nil, &dropError{DropTooLarge, fmt.Errorf("aesm: the header announces a request of %d bytes, the limit is %d", size, MaxRequestFrame)}
	}
	end := headerSize + int(size)
	if n < end {
		if end > len(buffer) {
			if !s.conns.reserve(c, end) {
				return nil, &dropError{DropRefused, errors.New("aesm: the memory for large requests is in use")}
			}
			buffer = append(make([]byte, 0, end), buffer...)[:end]
		}
		if _, err := s.readMissing(c, buffer[n:end], end-n, deadline); err != nil {
			return nil, s.dropOf(err, DropTruncated, DropSlow)
		}
	}
	return buffer[headerSize:end], nil
}

// readMissing reads at least n bytes.
func (s *serving) readMissing(c *conn, p []byte, n int, deadline time.Time) (int, error) {
	if err := s.conns.readBy(c, deadline); err != nil {
		return 0, err
	}
	return io.ReadAtLeast(c.caller.socket, p, n)
}

// dropOf returns the *dropError for a failed read: gone if the peer has closed, late
// if the deadline has passed, and DropStopped if that was the server's end.
func (s *serving) dropOf(err error, gone, late Drop) error {
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return &dropError{gone, err}
	case s.conns.stopped():
		return &dropError{DropStopped, err}
	}
	return &dropError{late, err}
}
