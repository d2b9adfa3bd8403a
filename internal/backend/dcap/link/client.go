package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/sgx"
)

// The errors of a request to a worker that has ended, or that has closed the
// connection.
var (
	// ErrUnread means that the worker has not read the request: it ended for a
	// reason that the request has nothing to do with.
	//
	// The kernel says so: a write fails once the other end is closed, and a read
	// fails with ECONNRESET, rather than to end, if the other end was closed while
	// there was something to read for it (unix_release_sock of net/unix/af_unix.c).
	ErrUnread = errors.New("the worker ended before it read the request")
	// ErrNoReply means that the worker has read the request.
	ErrNoReply = errors.New("the worker closed the connection without a complete reply")
)

// Client is the helper's end of a link to one worker. It is safe for concurrent
// use.
type Client struct {
	socket *net.UnixConn

	mu     sync.Mutex
	idle   []*conn
	closed bool
}

// NewClient returns a client, and the file for the worker: the caller closes it
// after it has started the worker.
func NewClient() (*Client, *os.File, error) {
	ours, theirs, err := newPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, nil, err
	}
	socket, err := unixConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return &Client{socket: socket}, theirs, nil
}

// Initialize has the worker load its enclaves and initialize its key.
//
// The error of a request is a quote3.Error, a *LibraryError that wraps one, a *FailureError, ErrUnread, ErrNoReply,
// a *MessageError or that of ctx.
func (c *Client) Initialize(ctx context.Context) (Identity, error) {
	r, err := c.exchange(ctx, request{kind: kindInitialize})
	return r.identity, err
}

// Quote has the worker sign report. With a challenge, the quoting enclave's own
// report is made as well. The error is as that of Initialize.
func (c *Client) Quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	r, err := c.exchange(ctx, newQuoteRequest(report, challenge))
	return r.quoted, err
}

// Close closes the idle connections and makes the worker's Listener.Serve return
// once it has replied to the requests that it has.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, conn := range c.idle {
		conn.Close()
	}
	c.idle = nil
	return c.socket.Close()
}

// exchange sends a request and reads its reply.
func (c *Client) exchange(ctx context.Context, r request) (reply, error) {
	conn, err := c.connect()
	if err != nil {
		return reply{}, linkError(ctx, err)
	}
	// The end of ctx ends a read or a write.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	message, err := conn.roundTrip(r)
	if !stop() || err != nil {
		conn.Close()
	} else {
		c.release(conn)
	}
	if err != nil {
		return reply{}, linkError(ctx, err)
	}
	return parseReply(r.kind, message)
}

func (c *conn) roundTrip(r request) ([]byte, error) {
	out := make([]byte, 0, headerSize+maxRequest)
	if _, err := c.Write(appendRequest(out, r)); err != nil {
		return nil, err
	}
	message, err := readMessage(c.in, maxReply)
	if n := c.in.Buffered(); err == nil && n > 0 {
		err = malformed("%d bytes follow the reply", n)
	}
	return message, err
}

// linkError makes the error of an exchange.
func linkError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed):
		return fmt.Errorf("%w: %w", ErrUnread, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrNoReply
	}
	return err
}

// connect returns an idle connection, or a new one.
func (c *Client) connect() (*conn, error) {
	c.mu.Lock()
	if last := len(c.idle) - 1; last >= 0 {
		conn := c.idle[last]
		c.idle = c.idle[:last]
		c.mu.Unlock()
		return conn, nil
	}
	c.mu.Unlock()
	ours, theirs, err := newPair(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	socket, err := unixConn(ours)
	if err != nil {
		return nil, err
	}
	if err := sendFile(c.socket, theirs); err != nil {
		socket.Close()
		return nil, err
	}
	return newConn(socket), nil
}

// release keeps a connection for the next request.
func (c *Client) release(conn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return
	}
	c.idle = append(c.idle, conn)
}
