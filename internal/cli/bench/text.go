package bench

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/loadgen"
)

// showProgress returns a function that writes what was done since its last call.
func showProgress(w io.Writer) func(loadgen.Result) {
	var last loadgen.Result
	return func(now loadgen.Result) {
		rate := float64(now.Succeeded()-last.Succeeded()) / (now.Elapsed - last.Elapsed).Seconds()
		fmt.Fprintf(w, "%4.0fs  %9.1f/s  %d requests, %d failed\n", now.Elapsed.Seconds(), rate, now.Requests, now.Failed)
		last = now
	}
}

// show writes a result as text.
func show(w io.Writer, b benchmark, r loadgen.Result) error {
	p := output.NewPage(w)
	p.Row("benchmark", "%s, %d clients, %s", b.request, b.clients, rounded(r.Elapsed))
	p.Row("requests", "%d", r.Requests)
	p.Row("failed", "%d", r.Failed)
	for _, f := range failures(r) {
		p.Text(fmt.Sprintf("  %d times", f.Count), f.Error)
	}
	if r.Cancelled > 0 {
		p.Row("cancelled", "%d, longest wait %s", r.Cancelled, rounded(r.LongestWait))
	}
	if r.Succeeded() == 0 {
		return p.Err()
	}
	p.Row("rate", "%.1f/s", r.Rate())
	p.Line("")
	p.Line("latency")
	for _, f := range []struct {
		name string
		time time.Duration
	}{
		{"min", r.Latency.Min()},
		{"median", r.Latency.Quantile(0.5)},
		{"p90", r.Latency.Quantile(0.9)},
		{"p99", r.Latency.Quantile(0.99)},
		{"p99.9", r.Latency.Quantile(0.999)},
		{"max", r.Latency.Max()},
	} {
		p.Row("  "+f.name, "%8s", rounded(f.time))
	}
	p.Line("")
	showBuckets(p, r.Latency.Buckets(16))
	return p.Err()
}

// showBuckets draws a bar for the requests in each bucket.
func showBuckets(p *output.Page, buckets []loadgen.Bucket) {
	const width = 45 // with the numbers less than 80 columns
	var most uint64
	for _, b := range buckets {
		most = max(most, b.Count)
	}
	for _, b := range buckets {
		bar := strings.Repeat("#", int((b.Count*width+most/2)/most))
		p.Line(strings.TrimRight(fmt.Sprintf("  up to %8s %9d  %s", b.To, b.Count, bar), " "))
	}
}

// rounded returns a time rounded to three digits.
func rounded(t time.Duration) time.Duration {
	unit := time.Duration(1)
	for t/unit >= 1000 {
		unit *= 10
	}
	return t.Round(unit)
}
