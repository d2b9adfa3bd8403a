package quoting

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/peer"
	"github.com/confcom/confcom/sgx"
)

// entry is a line of a log, without its time.
type entry map[string]any

// logged returns an observer and a function that returns the lines it has written
// since the last call.
func logged(level slog.Level) (o *Observer, lines func(t *testing.T) []entry) {
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: level}))
	return NewObserver(log, NewMetrics(prometheus.NewRegistry())), func(t *testing.T) (lines []entry) {
		t.Helper()
		for text := range strings.Lines(out.String()) {
			var l entry
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			if _, err := time.Parse(time.RFC3339, fmt.Sprint(l["time"])); err != nil {
				t.Error(err)
			}
			delete(l, "time")
			lines = append(lines, l)
		}
		out.Reset()
		return lines
	}
}

func TestObserver(t *testing.T) {
	caller := peer.Peer{User: 65532, Process: 4711, Pod: "1f0e4a52-0a7c-4c39-9d35-6f64fb1ad29b", Container: strings.Repeat("9b2c01d2e3f4", 6)[:64]}
	who := map[string]any{"pod": caller.Pod, "container": "9b2c01d2e3f4", "pid": 4711.0, "uid": 65532.0}
	report := &sgx.Report{Body: sgx.ReportBody{MREnclave: sgx.Measurement{0xe2}, MRSigner: sgx.Measurement{0x83}}}
	mrenclave, mrsigner := "e2"+strings.Repeat("00", 31), "83"+strings.Repeat("00", 31)
	cause := errors.New("the cause")
	// with returns a line about a connection of the caller that took a second.
	with := func(level, msg, request string, more entry) entry {
		l := entry{"level": level, "msg": msg, "request": request, "peer": who, "duration": 1e9}
		for key, value := range more {
			l[key] = value
		}
		return l
	}
	for _, tt := range []struct {
		name     string
		exchange aesm.Exchange
		want     entry
	}{
		{"a quote", aesm.Exchange{Kind: aesm.KindGetQuoteEx, Report: report},
			with("INFO", "quote", "GetQuoteEx", entry{"mrenclave": mrenclave, "mrsigner": mrsigner})},
		{"another answer", aesm.Exchange{Kind: aesm.KindInitQuoteEx},
			with("DEBUG", "answered", "InitQuoteEx", nil)},
		{"an error of the backend", aesm.Exchange{Kind: aesm.KindGetQuoteEx, Code: aesm.CodeNetwork, Report: report,
			Err: &Failure{LayerNetwork, aesm.CodeNetwork, cause, ""}},
			with("WARN", "request failed", "GetQuoteEx", entry{"mrenclave": mrenclave, "mrsigner": mrsigner, "error": "network: the cause",
				"code": 12.0, "name": "NETWORK", "layer": "network", "advice": aesm.CodeNetwork.OperatorAdvice()})},
		{"a failure with its own advice", aesm.Exchange{Kind: aesm.KindInitQuoteEx, Code: aesm.CodeBusy,
			Err: &Failure{LayerQueue, aesm.CodeBusy, cause, "buy another node"}},
			with("WARN", "request failed", "InitQuoteEx", entry{"error": "queue: the cause",
				"code": 18.0, "name": "BUSY", "layer": "queue", "advice": "buy another node"})},
		{"a mistake of the client", aesm.Exchange{Kind: aesm.KindGetQuote, Code: aesm.CodeServiceUnavailable,
			Err: fmt.Errorf("GetQuote is not served: %w", aesm.CodeServiceUnavailable)},
			with("WARN", "request failed", "GetQuote", entry{"error": "GetQuote is not served: " + aesm.CodeServiceUnavailable.Error(),
				"code": 30.0, "name": "SERVICE_UNAVAILABLE", "layer": "client"})},
		{"a code without advice", aesm.Exchange{Kind: aesm.KindGetQuoteEx, Code: aesm.CodeSessionInvalid,
			Err: &Failure{LayerBackend, aesm.CodeSessionInvalid, cause, ""}},
			with("WARN", "request failed", "GetQuoteEx", entry{"error": "backend: the cause",
				"code": 7.0, "name": "SESSION_INVALID", "layer": "backend"})},
		{"advice that the error already contains", aesm.Exchange{Kind: aesm.KindGetQuoteEx, Code: aesm.CodeBusy,
			Err: &Failure{LayerQueue, aesm.CodeBusy, errors.New("full: buy another node"), "buy another node"}},
			with("WARN", "request failed", "GetQuoteEx", entry{"error": "queue: full: buy another node",
				"code": 18.0, "name": "BUSY", "layer": "queue"})},
		{"an error without a code", aesm.Exchange{Kind: aesm.KindSelectAttKeyID, Code: aesm.CodeUnexpected, Err: cause},
			with("WARN", "request failed", "SelectAttKeyID", entry{"error": "the cause",
				"code": 1.0, "name": "UNEXPECTED", "layer": "client"})},
		{"a panic", aesm.Exchange{Kind: aesm.KindGetQuoteEx, Code: aesm.CodeUnexpected, Err: &aesm.PanicError{Value: "nil map", Stack: []byte("main.go:1")}},
			with("ERROR", "panic in the quote helper: please report this bug", "GetQuoteEx", entry{"error": "aesm: the handler panicked: nil map", "stack": "main.go:1"})},
		{"a panic while reading", aesm.Exchange{Drop: aesm.DropMalformed, Err: &aesm.PanicError{Value: "nil map", Stack: []byte("main.go:1")}},
			with("ERROR", "panic in the quote helper: please report this bug", "none", entry{"error": "aesm: the handler panicked: nil map", "stack": "main.go:1"})},

		{"a probe", aesm.Exchange{Kind: aesm.KindGetQuoteSizeEx, Probe: true},
			with("DEBUG", "answered", "GetQuoteSizeEx", nil)},
		{"a probe while there are no quotes", aesm.Exchange{Kind: aesm.KindInitQuoteEx, Probe: true, Code: aesm.CodeNetwork,
			Err: &Failure{LayerNetwork, aesm.CodeNetwork, cause, ""}},
			with("DEBUG", "probe failed", "InitQuoteEx", entry{"error": "network: the cause",
				"code": 12.0, "name": "NETWORK", "layer": "network", "advice": aesm.CodeNetwork.OperatorAdvice()})},

		{"probe", aesm.Exchange{Drop: aesm.DropProbe, Err: cause}, with("DEBUG", "closed", "none", entry{"error": "the cause", "reason": "probe"})},
		{"idle", aesm.Exchange{Drop: aesm.DropIdle}, with("DEBUG", "closed", "none", entry{"reason": "idle"})},
		{"stopped", aesm.Exchange{Drop: aesm.DropStopped}, with("DEBUG", "closed", "none", entry{"reason": "stopped"})},
		{"evicted", aesm.Exchange{Drop: aesm.DropEvicted}, with("WARN", "dropped", "none", entry{"reason": "evicted"})},
		{"refused", aesm.Exchange{Drop: aesm.DropRefused}, with("WARN", "dropped", "none", entry{"reason": "refused"})},
		{"slow", aesm.Exchange{Drop: aesm.DropSlow}, with("WARN", "dropped", "none", entry{"reason": "slow"})},
		{"truncated", aesm.Exchange{Drop: aesm.DropTruncated}, with("WARN", "dropped", "none", entry{"reason": "truncated"})},
		{"too large", aesm.Exchange{Drop: aesm.DropTooLarge}, with("WARN", "dropped", "none", entry{"reason": "too_large"})},
		{"malformed", aesm.Exchange{Drop: aesm.DropMalformed, Err: cause}, with("WARN", "dropped", "none", entry{"error": "the cause", "reason": "malformed"})},
		{"write", aesm.Exchange{Drop: aesm.DropWrite, Kind: aesm.KindGetQuoteEx, Report: report, Err: cause},
			with("WARN", "dropped", "GetQuoteEx", entry{"mrenclave": mrenclave, "mrsigner": mrsigner, "error": "the cause", "reason": "write"})},
		{"accept", aesm.Exchange{Drop: aesm.DropAccept, Err: cause}, with("WARN", "dropped", "none", entry{"error": "the cause", "reason": "accept"})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, lines := logged(slog.LevelDebug)
			tt.exchange.Duration = time.Second
			tt.exchange.Peer = caller
			o.Ended(t.Context(), tt.exchange)
			if diff := cmp.Diff([]entry{tt.want}, lines(t)); diff != "" {
				t.Error(diff)
			}
			panics := 0.0
			if tt.want["level"] == "ERROR" {
				panics = 1
			}
			if got := testutil.ToFloat64(o.metrics.panics); got != panics {
				t.Errorf("%v panics counted, want %v", got, panics)
			}
		})
	}
}

// An unknown peer has no attributes.
func TestObserverUnknownPeer(t *testing.T) {
	o, lines := logged(slog.LevelDebug)
	o.Ended(t.Context(), aesm.Exchange{Kind: aesm.KindGetSupportedAttKeyIDs})
	if diff := cmp.Diff([]entry{{"level": "DEBUG", "msg": "answered", "request": "GetSupportedAttKeyIDs", "duration": 0.0}}, lines(t)); diff != "" {
		t.Error(diff)
	}
}

func TestObserverLevels(t *testing.T) {
	quote := aesm.Exchange{Kind: aesm.KindGetQuoteEx, Report: new(sgx.Report)}
	size := aesm.Exchange{Kind: aesm.KindGetQuoteSizeEx}
	probe := aesm.Exchange{Drop: aesm.DropProbe}
	evicted := aesm.Exchange{Drop: aesm.DropEvicted}
	busy := aesm.Exchange{Kind: aesm.KindGetQuoteEx, Code: aesm.CodeBusy, Err: aesm.CodeBusy}
	bug := aesm.Exchange{Kind: aesm.KindGetQuoteEx, Code: aesm.CodeUnexpected, Err: new(aesm.PanicError)}
	for _, tt := range []struct {
		level slog.Level
		want  []string // the messages, in the order above
	}{
		{slog.LevelDebug, []string{"quote", "answered", "closed", "dropped", "request failed", "panic in the quote helper: please report this bug"}},
		{slog.LevelInfo, []string{"quote", "dropped", "request failed", "panic in the quote helper: please report this bug"}},
		{slog.LevelWarn, []string{"dropped", "request failed", "panic in the quote helper: please report this bug"}},
		{slog.LevelError, []string{"panic in the quote helper: please report this bug"}},
	} {
		t.Run(tt.level.String(), func(t *testing.T) {
			o, lines := logged(tt.level)
			for _, e := range []aesm.Exchange{quote, size, probe, evicted, busy, bug} {
				o.Ended(t.Context(), e)
			}
			var got []string
			for _, l := range lines(t) {
				got = append(got, l["msg"].(string))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if n := testutil.CollectAndCount(o.metrics.requests); n != 4 {
				t.Errorf("%d kinds of answers counted, want 4", n)
			}
		})
	}
}

// A peer that floods the helper gets 20 warnings per second; the number of suppressed
// ones is logged when the second is over. Warnings about other peers and lines at other
// levels are not affected.
func TestObserverLimitsWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, lines := logged(slog.LevelInfo)
		ended := func(pod string, e aesm.Exchange) {
			e.Peer = peer.Peer{Pod: pod}
			o.Ended(t.Context(), e)
		}
		evicted := aesm.Exchange{Drop: aesm.DropEvicted}
		busy := aesm.Exchange{Kind: aesm.KindGetQuoteEx, Code: aesm.CodeBusy, Err: aesm.CodeBusy}
		for range 15 {
			ended("flood", evicted)
			ended("flood", busy)
		}
		if n := len(lines(t)); n != maxWarnings {
			t.Errorf("%d lines for 30 warnings, want %d", n, maxWarnings)
		}
		ended("other", evicted)
		ended("flood", aesm.Exchange{Kind: aesm.KindGetQuoteEx, Report: new(sgx.Report)})
		if n := len(lines(t)); n != 2 {
			t.Errorf("%d lines for another peer and a quote, want 2", n)
		}

		time.Sleep(time.Second)
		ended("other", evicted)
		got := lines(t)
		if len(got) != 2 {
			t.Fatalf("%v", got)
		}
		want := entry{"level": "WARN", "msg": "warnings suppressed", "peer": "pod/flood", "lines": 10.0}
		if diff := cmp.Diff(want, got[1]); diff != "" {
			t.Error(diff)
		}
		if got[0]["msg"] != "dropped" {
			t.Errorf("%v", got[0])
		}

		// The peer gets lines again, and suppressed ones are reported once.
		for range maxWarnings {
			ended("flood", evicted)
		}
		time.Sleep(time.Second)
		ended("flood", evicted)
		if n := len(lines(t)); n != maxWarnings+1 {
			t.Errorf("%d lines in the next second and one later, want %d", n, maxWarnings+1)
		}
		if n := testutil.ToFloat64(o.metrics.drops.WithLabelValues("evicted")); n != 15+1+1+maxWarnings+1 {
			t.Errorf("%v dropped connections counted", n)
		}
	})
}

// The first thousand quotes of a peer are logged, and then 100 per second. The lines of
// other peers are not affected, and the loss is logged although the peer is quiet.
func TestObserverLimitsQuotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, lines := logged(slog.LevelInfo)
		quote := func(pod string) {
			o.Ended(t.Context(), aesm.Exchange{Peer: peer.Peer{Pod: pod}, Kind: aesm.KindGetQuoteEx, Report: new(sgx.Report)})
		}
		for range maxQuoteBurst + 50 {
			quote("flood")
		}
		quote("other")
		if n := len(lines(t)); n != maxQuoteBurst+1 {
			t.Errorf("%d lines, want %d", n, maxQuoteBurst+1)
		}
		time.Sleep(sweepInterval)
		o.Ended(t.Context(), aesm.Exchange{Drop: aesm.DropProbe}) // of anybody
		want := []entry{{"level": "WARN", "msg": "lines about quotes suppressed", "peer": "pod/flood", "lines": 50.0}}
		if diff := cmp.Diff(want, lines(t)); diff != "" {
			t.Error(diff)
		}
		for range maxQuoteLines + 1 {
			quote("flood")
		}
		if n := len(lines(t)); n != maxQuoteLines {
			t.Errorf("%d lines in the next second, want %d", n, maxQuoteLines)
		}
	})
}

// A report names a bounded number of peers, and the others later.
func TestLineLimitReports(t *testing.T) {
	l := newLineLimit(1, 1)
	now := time.Now()
	const peers = 2*maxReports + 1
	for i := range peers {
		l.allow(now, fmt.Sprint(i))
		l.allow(now, fmt.Sprint(i))
	}
	reported := make(map[string]int)
	for range 3 {
		report := l.sweep(now)
		if len(report) > maxReports {
			t.Errorf("a report of %d peers", len(report))
		}
		maps.Copy(reported, report)
	}
	if len(reported) != peers {
		t.Errorf("%d peers were reported, want %d", len(reported), peers)
	}
}

// The limit remembers only peers that have had lines lately.
func TestLineLimitForgets(t *testing.T) {
	l := newLineLimit(maxWarnings, maxWarnings)
	start := time.Now()
	for i := range 100 {
		l.allow(start, fmt.Sprint(i))
	}
	l.allow(start.Add(sweepInterval), "last")
	l.sweep(start.Add(sweepInterval))
	if len(l.peers) != 1 {
		t.Errorf("%d peers are remembered, want 1", len(l.peers))
	}
}
