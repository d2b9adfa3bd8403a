package dcap

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
)

func TestRelay(t *testing.T) {
	const (
		info   = `{"time":"2026-11-25T00:00:00Z","level":"INFO","msg":"got it","bytes":12}` + "\n"
		start  = `{"level":"INFO","msg":"starting","daemon":"x"}` + "\n"
		failed = `{"level":"ERROR","msg":"exiting on error","error":"no library"}` + "\n"
		panics = `{"level":"ERROR","msg":"panic","value":"oh"}` + "\n"
	)
	for _, c := range []struct {
		name, log string
		want, why string
	}{
		{"a line", info, `level=INFO msg="worker: got it" worker=3 bytes=12` + "\n", ""},
		{"numbers and durations", `{"level":"INFO","msg":"got it","bytes":12000000,"duration":1500000000,"next":2000000,"half":0.5,"text":"12"}` + "\n",
			`level=INFO msg="worker: got it" worker=3 bytes=12000000 duration=1.5s half=0.5 next=2ms text=12` + "\n", ""},
		{"more than an object", `{} {}` + "\n", `level=WARN msg="worker output" worker=3 text="{} {}"` + "\n", "{} {}"},
		{"the start and the end", start + failed, "", "no library"},
		{"a bug", panics, `level=WARN msg="worker: panic" worker=3 value=oh` + "\n", "panic"},
		{"last words", info + "SIGSEGV: bad\n\nPC=1\n", `level=INFO msg="worker: got it" worker=3 bytes=12
level=WARN msg="worker output" worker=3 text="SIGSEGV: bad"
level=WARN msg="worker output" worker=3 text="PC=1"
`, "SIGSEGV: bad"},
		{"an error before the last words", failed + "exit\n", `level=WARN msg="worker output" worker=3 text=exit` + "\n", "no library"},
		{"nothing", "", "", ""},
		{"no end of the line", "half", `level=WARN msg="worker output" worker=3 text=half` + "\n", "half"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log, out := testLog()
			if why := relay(log, io.NopCloser(strings.NewReader(c.log))); why != c.why || out.String() != c.want {
				t.Errorf("%q, want %q; logged\n%swant\n%s", why, c.why, out, c.want)
			}
		})
	}
}

// The log stays readable however much a process writes.
func TestRelayMuch(t *testing.T) {
	var written strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&written, "line %d %s\n", i, strings.Repeat("x", 2*maxLine))
	}
	log, out := testLog()
	if why := relay(log, io.NopCloser(strings.NewReader(written.String()))); !strings.HasPrefix(why, "line 0 ") || len(why) > maxLine {
		t.Errorf("%d bytes: %.20q", len(why), why)
	}
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != maxPlain || out.Len() > (maxPlain+1)*maxLine {
		t.Errorf("%d lines, %d bytes", n, out.Len())
	}
}

// testLog returns a log without times.
func testLog() (*slog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	handler := slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	return slog.New(handler).With("worker", 3), &out
}
