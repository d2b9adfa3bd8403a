package aesm

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
)

// keeper connects a client to ServeConn, and keeps its connections.
type keeper struct {
	handler Handler
	ctx     context.Context
	serving sync.WaitGroup
	errs    chan error

	kept    []net.Conn
	dialled int
}

func newKeeper(ctx context.Context, h Handler) *keeper {
	return &keeper{handler: h, ctx: ctx, errs: make(chan error, 10)}
}

func (k *keeper) Dial(context.Context) (net.Conn, error) {
	if len(k.kept) > 0 {
		conn := k.kept[0]
		k.kept = k.kept[1:]
		return conn, nil
	}
	k.dialled++
	ours, theirs := net.Pipe()
	k.serving.Go(func() { k.errs <- ServeConn(k.ctx, theirs, k.handler) })
	return ours, nil
}

func (k *keeper) Keep(conn net.Conn) { k.kept = append(k.kept, conn) }

// Many requests go over one connection, also those that are refused.
func TestServeConn(t *testing.T) {
	h := newStub()
	k := newKeeper(t.Context(), h)
	client := &Client{Socket: "pipe", Dial: k.Dial, Keep: k.Keep}
	for range 3 {
		if _, err := client.InitQuote(t.Context(), h.keys[0]); err != nil {
			t.Fatal(err)
		}
		quoted, err := client.GetQuote(t.Context(), h.keys[0], testReport(), len(h.quote), nil)
		if err != nil || len(quoted.Quote) != len(h.quote) {
			t.Fatalf("%d bytes, %v", len(quoted.Quote), err)
		}
		if _, err := client.GetQuote(t.Context(), h.keys[0], testReport(), 1, nil); err == nil {
			t.Fatal("a quote in a buffer of one byte")
		}
	}
	if k.dialled != 1 || len(k.kept) != 1 {
		t.Errorf("%d connections, %d kept", k.dialled, len(k.kept))
	}

	// A request that was given up leaves no connection behind that has its reply.
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.InitQuote(canceled, h.keys[0]); err == nil {
		t.Error("a reply after the end")
	}
	if len(k.kept) != 0 {
		t.Error("kept all the same")
	}
	k.serving.Wait()
	<-k.errs // that it could not write, or nothing
}

func TestServeConnEnds(t *testing.T) {
	for _, c := range []struct {
		name, send string
		stop       bool
		want       string // of the error; none where empty
	}{
		{"the peer is done", "", false, ""},
		{"stopped", "", true, ""},
		{"half a header", "\x01\x00", false, "read request"},
		{"half a message", "\x02\x00\x00\x00a", false, "read request"},
		{"a flood", "\xff\xff\xff\xff", false, "4294967295 bytes"},
		{"no request", "\x00\x00\x00\x00", false, "none of the known requests"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			k := newKeeper(ctx, newStub())
			conn, _ := k.Dial(ctx)
			if _, err := conn.Write([]byte(c.send)); err != nil {
				t.Fatal(err)
			}
			if c.stop {
				stop()
			} else {
				conn.Close()
			}
			err := <-k.errs
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			conn.Close()
			k.serving.Wait()
		})
	}
}
