package aesm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/confcom/confcom/quote"
)

// seedScripts adds the frames of the test scripts as seeds, without their headers, and
// returns them.
func seedScripts(f *testing.F, verb string) (seeds [][]byte) {
	files, _ := filepath.Glob("testdata/*.script")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), verb+" "); ok {
				seeds = append(seeds, scriptBytes(f, rest))
				f.Add(seeds[len(seeds)-1])
			}
		}
	}
	return seeds
}

// FuzzRequest checks that every message is either no request at all or gets a reply of
// its own kind that clients can read.
func FuzzRequest(f *testing.F) {
	seeded := make(map[Kind]bool)
	for _, seed := range seedScripts(f, ">") {
		if req, err := parseRequest(seed); err == nil && req.incomplete == nil {
			seeded[req.kind] = true
		}
	}
	for _, kind := range []Kind{
		KindGetSupportedAttKeyIDNum, KindGetSupportedAttKeyIDs, KindSelectAttKeyID, KindInitQuoteEx, KindGetQuoteSizeEx, KindGetQuoteEx,
	} {
		if !seeded[kind] {
			f.Errorf("no seed is a request of kind %s", kind)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := parseRequest(body)
		if err != nil {
			return
		}
		kind := req.kind
		res, err := answer(t.Context(), Caller{}, newStub(), req, &buffers{size: replyBuffer})
		if _, ok := errors.AsType[*PanicError](err); ok {
			t.Fatal(err)
		}
		b, frameErr := frame(res)
		if frameErr != nil {
			t.Fatal(frameErr)
		}
		if len(b) > headerSize+maxReplyFrame {
			t.Fatalf("got a reply of %d bytes", len(b))
		}
		back, code, parseErr := parseReply(kind, b[headerSize:])
		if parseErr != nil {
			t.Fatal(parseErr)
		}
		if code != codeOf(err) {
			t.Errorf("got code %s for error %v", code, err)
		}
		if err := proto.CheckInitialized(back); err != nil {
			t.Error(err)
		}
		fields := 0
		for k := range Kind(32) {
			if _, ok := field(back, k); ok {
				fields++
			}
		}
		if fields != 1 {
			t.Errorf("got a reply with %d messages", fields)
		}
	})
}

// FuzzReply checks what the client accepts from a daemon that sends any reply.
func FuzzReply(f *testing.F) {
	seedScripts(f, "<")
	f.Fuzz(func(t *testing.T, body []byte) {
		c, ctx, key := fakeDaemon(framed(body)), t.Context(), IntelQE3KeyID()
		c.SupportedKeyIDs(ctx)
		c.SelectKeyID(ctx)
		c.InitQuote(ctx, key)
		if n, err := c.QuoteSize(ctx, key); err == nil && (n <= 0 || n > MaxQuoteSize) {
			t.Errorf("got a quote size of %d bytes", n)
		}
		if q, err := c.GetQuote(ctx, key, testReport(), 2000, &Challenge{}); err == nil && (len(q.Quote) < quote.OffsetSignatureData || len(q.Quote) > 2000) {
			t.Errorf("got a quote of %d bytes", len(q.Quote))
		}
	})
}

// FuzzFrame sends any bytes, in any pieces. The server must answer with one complete
// reply or close the connection, and read no more than the largest request.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{}, uint64(0))
	f.Add(numRequest, uint64(1))
	f.Add(numRequest[:2], uint64(2))
	f.Add(append(bytes.Clone(numRequest), numRequest...), uint64(3))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, uint64(4))
	f.Add([]byte{0, 0, 1, 0, 1}, uint64(5))
	f.Add(quoteRequest(f, 1000), uint64(6))
	f.Fuzz(func(t *testing.T, stream []byte, pieces uint64) {
		ours, theirs := net.Pipe()
		var exchange Exchange
		s := &serving{
			Server:   &Server{Handler: newStub(), Observe: func(_ context.Context, e Exchange) { exchange = e }},
			ctx:      t.Context(),
			conns:    newConns(usage{1, 1 << 20}, usage{2, 1 << 20}, false),
			requests: buffers{size: requestBuffer},
			replies:  buffers{size: replyBuffer},
		}
		c, _ := s.conns.add(Caller{socket: theirs})
		var running sync.WaitGroup
		running.Go(func() { s.serve(c) })
		written := 0
		running.Go(func() {
			r := rand.New(rand.NewPCG(pieces, 0))
			for written < len(stream) {
				n, err := ours.Write(stream[written : written+1+r.IntN(len(stream)-written)])
				written += n
				if err != nil {
					return
				}
			}
			if exchangeNeedsMore(stream) {
				ours.Close()
			}
		})
		reply, _ := io.ReadAll(ours)
		running.Wait()
		ours.Close()

		if _, ok := errors.AsType[*PanicError](exchange.Err); ok {
			t.Fatal(exchange.Err)
		}
		if written > headerSize+MaxRequestFrame {
			t.Errorf("the server has read %d bytes", written)
		}
		switch {
		case exchange.Drop == NotDropped:
			size, err := readHeader(bytes.NewReader(reply))
			if err != nil || int(size) != len(reply)-headerSize {
				t.Errorf("got a reply of %d bytes whose header announces %d", len(reply), size)
			}
			if _, _, err := parseReply(exchange.Kind, reply[headerSize:]); err != nil {
				t.Error(err)
			}
		case len(reply) > 0 && exchange.Drop != DropWrite:
			t.Errorf("got exchange %+v and a reply of %d bytes", exchange, len(reply))
		}
		if s.conns.used != (usage{}) || s.conns.arrivals.oldest != nil {
			t.Errorf("the table is not empty: %+v", s.conns.used)
		}
	})
}

// exchangeNeedsMore reports whether a server waits for more than these bytes.
func exchangeNeedsMore(stream []byte) bool {
	size, err := readHeader(bytes.NewReader(stream))
	return err != nil || size <= MaxRequestFrame && len(stream) < headerSize+int(size)
}
