package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/loadgen"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// handler changes how a quote helper answers to requests for quotes.
type handler struct {
	aesm.Handler
	// before may refuse a quote.
	before func() error
}

func (h handler) Quote(ctx context.Context, caller aesm.Caller, key aesm.KeyID, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	if err := h.before(); err != nil {
		return aesm.Quoted{}, err
	}
	return h.Handler.Quote(ctx, caller, key, report, challenge)
}

// serveBefore runs a quote helper that calls before for each quote.
func serveBefore(t *testing.T, before func() error) (socket string) {
	t.Helper()
	platform, err := simulated.New("bench")
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(t.TempDir(), "aesm.socket")
	listener, err := aesm.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() {
		server := aesm.Server{Handler: handler{quoting.NewService(platform, 1, nil), before}}
		stopped <- server.Serve(ctx, listener)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return socket
}

// serveBusy runs a quote helper that refuses every second quote.
func serveBusy(t *testing.T) (socket string) {
	var quotes atomic.Int64
	return serveBefore(t, func() error {
		if quotes.Add(1)%2 == 0 {
			return aesm.CodeBusy
		}
		return nil
	})
}

func TestBench(t *testing.T) {
	good, half := serve(t), serveBusy(t)
	for _, c := range []struct {
		name string
		args []string
		exit int
		want []string // patterns
	}{
		{"quotes", []string{"--socket", good}, 0, []string{
			`asked for +quote, by 4 clients, for `, `requests +40\nfailed +0\nrate +[0-9.]+/s\n`,
			`latency\n  min +[0-9.]+[mµ]?s\n  median .*\n  p90 .*\n  p99 .*\n  p99.9 .*\n  max .*\n\n(  up to +[0-9.]+[mµ]?s +\d+( +#+)?\n)+$`,
		}},
		{"sizes", []string{"--socket", good, "--request=quote-size"}, 0, []string{`quote-size, by 4`, `failed +0\n`}},
		{"keys", []string{"--socket", good, "--request=select-key"}, 0, []string{`select-key, by 4`, `failed +0\n`}},
		{"inits", []string{"--socket", good, "--request=init"}, 0, []string{`init, by 4`, `failed +0\n`}},
		{"some fail", []string{"--socket", half}, 1, []string{`requests +40\nfailed +20\n  20 times +aesm: GetQuoteEx: BUSY \(18\)`, `max `}},
		{"not prepared", []string{"--socket", good, "--timeout=1ns"}, 1, nil},
	} {
		exit, out, errs := confcom(t, nil, append([]string{"bench", "--clients=4", "--requests=40"}, c.args...)...)
		if exit != c.exit || (errs != "") != (c.want == nil) {
			t.Errorf("%s: exit %d\n%s%s", c.name, exit, out, errs)
		}
		for _, want := range c.want {
			if !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("%s: no %q in\n%s", c.name, want, out)
			}
		}
	}
}

// A report that was made before is quoted over and over, and by "quote get".
func TestMadeReport(t *testing.T) {
	socket := serve(t)
	report := filepath.Join(t.TempDir(), "report")
	for _, args := range [][]string{
		{"quote", "report", "--socket", socket, "--report-data", "c0ffee", "--out", report},
		{"bench", "--socket", socket, "--report", report, "--requests=10"},
	} {
		if exit, out, errs := confcom(t, nil, args...); exit != 0 {
			t.Fatalf("%v: exit %d\n%s%s", args, exit, out, errs)
		}
	}
	exit, out, errs := confcom(t, nil, "quote", "get", "--socket", socket, "--report", report, "--out", "-")
	q, err := quote.Parse([]byte(out))
	if exit != 0 || err != nil || q.Enclave.ReportData != (sgx.ReportData{0xc0, 0xff, 0xee}) {
		t.Errorf("exit %d, %v\n%s", exit, err, errs)
	}
}

func TestBenchJSON(t *testing.T) {
	exit, out, errs := confcom(t, nil, "bench", "--socket", serveBusy(t), "--requests=40", "-o", "json")
	var report struct {
		Request  string
		Clients  int
		Requests int
		Failed   int
		Failures []struct {
			Error string
			Count int
		}
		ElapsedSeconds, RatePerSecond float64
		LatencySeconds                map[string]float64
		LatencyBuckets                []struct {
			FromSeconds, ToSeconds float64
			Count                  int
		}
	}
	if err := json.Unmarshal([]byte(out), &report); exit != 1 || err != nil || errs != "" {
		t.Fatalf("exit %d, %v\n%s%s", exit, err, out, errs)
	}
	var inBuckets int
	for _, b := range report.LatencyBuckets {
		inBuckets += b.Count
	}
	l := report.LatencySeconds
	if report.Request != "quote" || report.Clients != 16 || report.Requests != 40 || report.Failed != 20 || inBuckets != 20 ||
		len(report.Failures) != 1 || report.Failures[0].Count != 20 || report.ElapsedSeconds <= 0 || report.RatePerSecond <= 0 ||
		l["min"] <= 0 || l["min"] > l["median"] || l["median"] > l["p90"] || l["p90"] > l["p99"] || l["p99"] > l["p999"] || l["p999"] > l["max"] || l["mean"] <= 0 {
		t.Errorf("%s", out)
	}
}

// Ctrl-C ends the measurement early, with all that was measured.
func TestBenchInterrupted(t *testing.T) {
	var quotes atomic.Int64
	enough := make(chan struct{})
	socket := serveBefore(t, func() error {
		if quotes.Add(1) == 20 {
			close(enough)
		}
		return nil
	})
	go func() {
		<-enough // the command minds signals since before its first request
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			t.Error(err)
		}
	}()
	exit, out, errs := confcom(t, nil, "bench", "--socket", socket, "--clients=2", "--duration=1h")
	if exit != 0 || errs != "" || !regexp.MustCompile(`requests +\d\d+\nfailed +0\n`).MatchString(out) {
		t.Errorf("exit %d\n%s%s", exit, out, errs)
	}
}

// A helper that hangs: nothing is measured, and that is a failure.
func TestBenchHangs(t *testing.T) {
	release := make(chan struct{})
	socket := serveBefore(t, func() error {
		<-release
		return aesm.CodeBusy
	})
	t.Cleanup(func() { close(release) }) // before the helper is stopped
	exit, out, errs := confcom(t, nil, "bench", "--socket", socket, "--duration=50ms")
	if exit != 1 || !strings.Contains(errs, "no request was answered in ") || !strings.Contains(out, "interrupted       16, the first") {
		t.Errorf("exit %d\n%s%s", exit, out, errs)
	}
}

func TestBenchShowNothing(t *testing.T) {
	result := loadgen.Result{Interrupted: 16, Waited: 9876543 * time.Microsecond, Elapsed: 10 * time.Second}
	var out strings.Builder
	if err := showBench(&out, bench{request: requestQuote, clients: 16}, result); err != nil {
		t.Fatal(err)
	}
	want := `asked for         quote, by 16 clients, for 10s
requests          0
failed            0
interrupted       16, the first had waited for 9.88s
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", &out, want)
	}
	report, err := json.Marshal(newBenchReport(bench{request: requestQuote, clients: 16}, result))
	if err != nil || !strings.Contains(string(report), `"failures":[],`) || !strings.Contains(string(report), `"latencySeconds":null,"latencyBuckets":[]`) {
		t.Errorf("%v: %s", err, report)
	}
}

func TestBenchProgress(t *testing.T) {
	var out strings.Builder
	progress := benchProgress(&out)
	progress(loadgen.Result{Requests: 1000, Elapsed: time.Second})
	progress(loadgen.Result{Requests: 3010, Failed: 10, Elapsed: 3 * time.Second})
	want := `   1s     1000.0/s  1000 requests, 0 failed
   3s     1000.0/s  3010 requests, 10 failed
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", &out, want)
	}
}

func TestBenchBadInput(t *testing.T) {
	for _, c := range []struct {
		arg  string
		exit int
		want string
	}{
		{"--clients=0", 2, "give 1 to 10000"},
		{"--clients=10001", 2, "give 1 to 10000"},
		{"--clients=many", 2, "--clients=many"},
		{"--duration=0s", 2, "--duration=0s: give more than 0"},
		{"--duration=10", 2, "--duration=10"},
		{"--requests=0", 2, "--requests=0: give more than 0"},
		{"--requests=-1", 2, "--requests=-1"},
		{"--requests=1 --duration=1s", 2, "give one of them"},
		{"--timeout=-1s", 2, "--timeout=-1s: give more than 0"},
		{"--request=quotes", 2, "none of quote, quote-size, select-key and init"},
		{"--output=xml", 2, "neither text nor json"},
		{"now", 2, "now"},
		{"--requests=1", 1, "is the quote helper running on this node"},
		{"--requests=1 --request=init", 1, "is the quote helper running on this node"},
	} {
		args := append([]string{"bench", "--socket", filepath.Join(t.TempDir(), "absent")}, strings.Fields(c.arg)...)
		exit, out, errs := confcom(t, nil, args...)
		if exit != c.exit || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", c.arg, exit, c.exit, c.want, out, errs)
		}
	}
}

func TestRounded(t *testing.T) {
	for time, want := range map[time.Duration]string{
		0:                       "0s",
		999:                     "999ns",
		1234:                    "1.23µs",
		99960 * time.Nanosecond: "100µs",
		1234567:                 "1.23ms",
		12345678901:             "12.3s",
	} {
		if got := rounded(time).String(); got != want {
			t.Errorf("%d: %s, want %s", time, got, want)
		}
	}
}
