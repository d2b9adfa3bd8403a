package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/sgx"
)

// drainTimeout is how long Serve waits for the last replies.
const drainTimeout = 15 * time.Second

// Handler serves the requests of a worker. Its methods may be called concurrently,
// as a request that was given up goes on in the worker. Errors that are a
// quote3.Error reach the helper as such.
type Handler interface {
	// Initialize loads the enclaves and initializes the key.
	Initialize() (Identity, error)
	// Quote signs report. With a challenge, the quoting enclave's own report is
	// made as well.
	Quote(report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error)
}

// Listener is the worker's end of the link.
type Listener struct{ socket *net.UnixConn }

// Inherit returns the listener of a process that was started with a Client's file
// as descriptor FD.
func Inherit() (*Listener, error) {
	socket, err := unixConn(os.NewFile(FD, "link"))
	if err != nil {
		return nil, fmt.Errorf("file descriptor %d is not the helper's socket: %w", FD, err)
	}
	return &Listener{socket}, nil
}

// Serve serves the requests of the helper until it closes its Client, or ctx is
// done. It then waits for the replies to the requests that it has; it is an error
// if they take too long. Connections that end with an error are logged.
func (l *Listener) Serve(ctx context.Context, handler Handler, log *slog.Logger) error {
	defer l.socket.Close()
	defer context.AfterFunc(ctx, func() { l.socket.Close() })()
	var connections sync.WaitGroup
	for {
		conn, err := l.accept()
		if err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				return fmt.Errorf("accept connection: %w", err)
			}
			break
		}
		connections.Go(func() {
			if err := conn.serve(ctx, handler); err != nil {
				log.Debug("connection failed", "error", err)
			}
		})
	}
	return drain(&connections)
}

// drain waits for the connections, but not for ever.
func drain(connections *sync.WaitGroup) error {
	drained := make(chan struct{})
	go func() {
		connections.Wait()
		close(drained)
	}()
	timer := time.NewTimer(drainTimeout)
	defer timer.Stop()
	select {
	case <-drained:
		return nil
	case <-timer.C:
		return fmt.Errorf("requests are still being served after %s", drainTimeout)
	}
}

// accept waits for the next connection. The error is io.EOF when there are no more.
func (l *Listener) accept() (*conn, error) {
	file, err := receiveFile(l.socket)
	if err != nil {
		return nil, err
	}
	socket, err := unixConn(file)
	if err != nil {
		return nil, err
	}
	return newConn(socket), nil
}

// serve serves one request after the other. It returns nil when the helper has
// closed the connection, or when ctx is done.
func (c *conn) serve(ctx context.Context, handler Handler) error {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	var out []byte
	for {
		message, err := readMessage(c.in, maxRequest)
		switch {
		case errors.Is(err, io.EOF), ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("read request: %w", err)
		}
		request, err := parseRequest(message)
		if err != nil {
			return fmt.Errorf("parse request: %w", err)
		}
		out = appendReply(out[:0], request.kind, handle(handler, request))
		if _, err := c.Write(out); err != nil {
			return fmt.Errorf("write reply: %w", err)
		}
	}
}

// handle has the handler serve a request.
func handle(handler Handler, r request) (answer reply) {
	switch r.kind {
	case kindInitialize:
		answer.identity, answer.err = handler.Initialize()
	case kindQuote:
		answer.quoted, answer.err = handler.Quote(r.report, nil)
	case kindChallenge:
		answer.quoted, answer.err = handler.Quote(r.report, &r.challenge)
	}
	return answer
}
