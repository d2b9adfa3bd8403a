package aesm

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// seedScripts adds the frames of the test scripts as seeds, without headers.
func seedScripts(f *testing.F, verb string) {
	files, _ := filepath.Glob("testdata/*.script")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), verb+" "); ok {
				f.Add(scriptBytes(f, rest))
			}
		}
	}
}

// FuzzRequest checks that every request is refused whole or gets a reply of its
// own kind that clients can read.
func FuzzRequest(f *testing.F) {
	seedScripts(f, ">")
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := parseRequest(body)
		if err != nil {
			return
		}
		kind := req.kind
		res, err := answer(t.Context(), newStub(), req, &buffers{size: replyBuffer})
		if _, ok := errors.AsType[*PanicError](err); ok {
			t.Fatal(err)
		}
		b, frameErr := frame(res)
		if frameErr != nil {
			t.Fatal(frameErr)
		}
		if len(b) > headerSize+maxReplyFrame {
			t.Fatalf("a reply of %d bytes", len(b))
		}
		back, code, parseErr := parseReply(kind, b[headerSize:])
		if parseErr != nil {
			t.Fatal(parseErr)
		}
		if code != codeOf(err) {
			t.Errorf("code %s for %v", code, err)
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
			t.Errorf("a reply with %d messages", fields)
		}
	})
}

// FuzzReply lets a daemon say anything to every request of the client.
func FuzzReply(f *testing.F) {
	seedScripts(f, "<")
	f.Fuzz(func(t *testing.T, body []byte) {
		c, ctx, key := fakeDaemon(framed(body)), t.Context(), IntelQE3KeyID()
		c.SupportedKeyIDs(ctx)
		c.SelectKeyID(ctx)
		c.InitQuote(ctx, key)
		if n, err := c.QuoteSize(ctx, key); err == nil && (n <= 0 || n > MaxQuoteSize) {
			t.Errorf("a quote of %d bytes", n)
		}
		if q, err := c.GetQuote(ctx, key, testReport(), 2000, &Challenge{}); err == nil && (len(q.Quote) < offSignature || len(q.Quote) > 2000) {
			t.Errorf("a quote of %d bytes", len(q.Quote))
		}
	})
}
