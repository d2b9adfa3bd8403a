package bench_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/cli/clitest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// serveBusy runs a quote helper that rejects every second quote.
func serveBusy(t *testing.T) (socket string) {
	var quotes atomic.Int64
	return clitest.ServeBefore(t, func() error {
		if quotes.Add(1)%2 == 0 {
			return aesm.CodeBusy
		}
		return nil
	})
}

func TestBench(t *testing.T) {
	good, half := clitest.Serve(t), serveBusy(t)
	for _, c := range []struct {
		name string
		args []string
		exit int
		want []string // patterns
	}{
		{"quotes", []string{"--socket", good}, 0, []string{
			`benchmark +quote, 4 clients, `, `requests +40\nfailed +0\nrate +[0-9.]+/s\n`,
			`latency\n  min +[0-9.]+[mµ]?s\n  median .*\n  p90 .*\n  p99 .*\n  p99.9 .*\n  max .*\n\n(  up to +[0-9.]+[mµ]?s +\d+( +#+)?\n)+$`,
		}},
		{"sizes", []string{"--socket", good, "--request=quote-size"}, 0, []string{`quote-size, 4 clients`, `failed +0\n`}},
		{"keys", []string{"--socket", good, "--request=select-key"}, 0, []string{`select-key, 4 clients`, `failed +0\n`}},
		{"inits", []string{"--socket", good, "--request=init"}, 0, []string{`init, 4 clients`, `failed +0\n`}},
		{"some fail", []string{"--socket", half}, 1, []string{`requests +40\nfailed +20\n  20 times +aesm: GetQuoteEx: BUSY \(18\)`, `max `}},
		{"the first request fails", []string{"--socket", good, "--timeout=1ns"}, 1, nil},
	} {
		exit, out, errs := clitest.Run(t, nil, append([]string{"bench", "--clients=4", "--requests=40"}, c.args...)...)
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

// Both bench and "quote get" quote a report from a file.
func TestReportFile(t *testing.T) {
	socket := clitest.Serve(t)
	report := filepath.Join(t.TempDir(), "report")
	for _, args := range [][]string{
		{"quote", "report", "--socket", socket, "--report-data", "c0ffee", "--out", report},
		{"bench", "--socket", socket, "--report", report, "--requests=10"},
	} {
		if exit, out, errs := clitest.Run(t, nil, args...); exit != 0 {
			t.Fatalf("%v: exit %d\n%s%s", args, exit, out, errs)
		}
	}
	exit, out, errs := clitest.Run(t, nil, "quote", "get", "--socket", socket, "--report", report, "--out", "-")
	q, err := quote.Parse([]byte(out))
	if exit != 0 || err != nil || q.Enclave.ReportData != (sgx.ReportData{0xc0, 0xff, 0xee}) {
		t.Errorf("exit %d, %v\n%s", exit, err, errs)
	}
}

func TestBenchJSON(t *testing.T) {
	exit, out, errs := clitest.Run(t, nil, "bench", "--socket", serveBusy(t), "--requests=40", "-o", "json")
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

// Ctrl-C ends the measurement early; the result is shown.
func TestBenchInterrupted(t *testing.T) {
	var quotes atomic.Int64
	enough := make(chan struct{})
	socket := clitest.ServeBefore(t, func() error {
		if quotes.Add(1) == 20 {
			close(enough)
		}
		return nil
	})
	go func() {
		<-enough // the command handles signals before its first request
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			t.Error(err)
		}
	}()
	exit, out, errs := clitest.Run(t, nil, "bench", "--socket", socket, "--clients=2", "--duration=1h")
	if exit != 0 || errs != "" || !regexp.MustCompile(`requests +\d\d+\nfailed +0\n`).MatchString(out) {
		t.Errorf("exit %d\n%s%s", exit, out, errs)
	}
}

// A quote helper that hangs is a failure.
func TestBenchHangs(t *testing.T) {
	release := make(chan struct{})
	var asked atomic.Int64
	all := make(chan struct{})
	socket := clitest.ServeBefore(t, func() error {
		if asked.Add(1) == 16 {
			close(all)
		}
		<-release
		return aesm.CodeBusy
	})
	t.Cleanup(func() { close(release) }) // before the helper is stopped
	go func() {
		<-all
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			t.Error(err)
		}
	}()
	exit, out, errs := clitest.Run(t, nil, "bench", "--socket", socket, "--duration=1h")
	if exit != 1 || !strings.Contains(errs, "no request was answered within ") || !strings.Contains(out, "cancelled         16, longest wait ") {
		t.Errorf("exit %d\n%s%s", exit, out, errs)
	}
}

func TestBenchBadInput(t *testing.T) {
	for _, c := range []struct {
		arg  string
		exit int
		want string
	}{
		{"--clients=0", 2, "must be from 1 to 10000"},
		{"--clients=10001", 2, "must be from 1 to 10000"},
		{"--clients=many", 2, "--clients=many"},
		{"--duration=0s", 2, "--duration=0s: must be greater than 0"},
		{"--duration=10", 2, "--duration=10"},
		{"--requests=0", 2, "--requests=0: must be greater than 0"},
		{"--requests=-1", 2, "--requests=-1"},
		{"--requests=1 --duration=1s", 2, "pass only one of them"},
		{"--timeout=-1s", 2, "--timeout=-1s: must be greater than 0"},
		{"--request=quotes", 2, "not one of quote, quote-size, select-key, init"},
		{"--output=xml", 2, "not one of text, json"},
		{"now", 2, `unexpected argument "now"`},
		{"--requests=1", 1, "is the quote helper running on this node"},
		{"--requests=1 --request=init", 1, "is the quote helper running on this node"},
	} {
		args := append([]string{"bench", "--socket", filepath.Join(t.TempDir(), "absent")}, strings.Fields(c.arg)...)
		exit, out, errs := clitest.Run(t, nil, args...)
		if exit != c.exit || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", c.arg, exit, c.exit, c.want, out, errs)
		}
	}
}
