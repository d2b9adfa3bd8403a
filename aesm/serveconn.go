package aesm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// ServeConn answers the requests on conn one after the other, for as long as they
// come, and closes it. It has none of the limits of a Server: it is for a peer that
// is trusted, such as a Client with Keep. It returns nil when the peer is done, or
// when ctx is and the last reply was sent. The context of a handler has the values
// of ctx.
func ServeConn(ctx context.Context, conn net.Conn, handler Handler) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	serving := context.WithoutCancel(ctx)
	replies := buffers{size: replyBuffer}
	var out []byte
	for {
		size, err := readHeader(conn)
		switch {
		case errors.Is(err, io.EOF), ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("aesm: read request: %w", err)
		case size > MaxRequestFrame:
			return fmt.Errorf("aesm: the header announces a request of %d bytes, the limit is %d", size, MaxRequestFrame)
		}
		body, err := readBody(conn, size)
		if err != nil {
			return fmt.Errorf("aesm: read request: %w", err)
		}
		req, err := parseRequest(body)
		if err != nil {
			return err
		}
		res, _ := answer(serving, Caller{}, handler, req, &replies) // the code in the reply is the error
		out, err = appendFrame(out[:0], res)
		replies.put(res.GetGetQuoteEx().GetQuote())
		if err != nil {
			return err
		}
		if _, err := conn.Write(out); err != nil {
			return fmt.Errorf("aesm: write reply: %w", err)
		}
	}
}
