package aesm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/confcom/confcom/aesm/internal/message"
)

const defaultTimeout = 15 * time.Second

// dialPause is the pause between two attempts to connect to a daemon whose backlog
// is full.
const dialPause = 10 * time.Millisecond

// call sends one request to the daemon and returns its reply, which is of the right
// kind and reports success.
func (c *Client) call(ctx context.Context, op Kind, req *message.Request) (*message.Response, error) {
	if c.Probe {
		req.Probe = proto.Bool(true)
	}
	b, err := frame(req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Timeout, defaultTimeout))
	defer cancel()
	body, err := c.roundTrip(ctx, op, b)
	if err != nil {
		return nil, err
	}
	res, code, err := parseReply(op, body)
	if err != nil {
		return nil, c.badReply(op, "%v", err)
	}
	if code != CodeSuccess {
		return nil, &Error{Op: op, Code: code}
	}
	return res, nil
}

// parseReply decodes the reply to a request of kind op.
func parseReply(op Kind, body []byte) (*message.Response, Code, error) {
	res := new(message.Response)
	// A reply without an error code is a failure, since the default code is one.
	if err := (proto.UnmarshalOptions{AllowPartial: true, DiscardUnknown: true}).Unmarshal(body, res); err != nil {
		return nil, 0, err
	}
	m, ok := field(res, op)
	if !ok {
		return nil, 0, fmt.Errorf("it does not answer %s", op)
	}
	code := m.Get(m.Descriptor().Fields().ByNumber(1)).Uint()
	return res, Code(code), nil
}

// roundTrip writes a frame and reads the message of the reply.
func (c *Client) roundTrip(ctx context.Context, op Kind, b []byte) ([]byte, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, c.transportError(ctx, op, err)
	}
	// The end of ctx interrupts a read or write.
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	defer conn.Close()

	if _, err := conn.Write(b); err != nil {
		return nil, c.transportError(ctx, op, err)
	}
	size, err := readHeader(conn)
	if err != nil {
		return nil, c.transportError(ctx, op, err)
	}
	if size > maxReplyFrame {
		return nil, c.badReply(op, "its header announces %d bytes, the limit is %d", size, maxReplyFrame)
	}
	body, err := readBody(conn, size)
	if err != nil {
		return nil, c.transportError(ctx, op, err)
	}
	return body, nil
}

func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	for {
		conn, err := c.dial(ctx)
		// EAGAIN means that the daemon's backlog is full; that of Intel's is short.
		if !errors.Is(err, syscall.EAGAIN) {
			return conn, err
		}
		if within(ctx.Done(), dialPause) {
			return nil, err
		}
	}
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	if c.Dial != nil {
		return c.Dial(ctx)
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", c.socket())
}

func (c *Client) socket() string { return cmp.Or(c.Socket, DefaultSocket) }

func (c *Client) transportError(ctx context.Context, op Kind, err error) error {
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		err = ErrNoReply
	case errors.Is(err, syscall.EPIPE):
		err = fmt.Errorf("%w: %w", ErrNoReply, syscall.EPIPE) // the daemon closed before it read the request
	default:
		// Operation and path are in the TransportError.
		if opErr, ok := errors.AsType[*net.OpError](err); ok {
			err = opErr.Err
		}
	}
	return &TransportError{Op: op, Socket: c.socket(), Err: err}
}

func (c *Client) badReply(op Kind, format string, args ...any) error {
	return &ProtocolError{Op: op, Socket: c.socket(), Reason: fmt.Sprintf(format, args...)}
}
