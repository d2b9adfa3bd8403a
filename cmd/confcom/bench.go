package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/loadgen"
)

// maxBenchClients is far more than a quote helper lets in.
const maxBenchClients = 10000

// bench is what 'confcom bench' is asked to do.
type bench struct {
	client   aesm.Client
	clients  int
	duration time.Duration
	requests uint64
	request  requestKind
	enclave  enclave
}

func newBenchCommand() *cobra.Command {
	var (
		b      bench
		output format
	)
	command := &cobra.Command{
		Use:   "bench",
		Short: "Measure how many quotes a quote helper makes, and how fast",
		Long: `Measure how many quotes a quote helper makes, and how fast: a number of clients ask
it without pause, each its next request when the last is answered, over a connection
for each request, as applications do.

  quote        ask for a quote of a report that was prepared before (GetQuoteEx)
  quote-size   ask for the size of a quote (GetQuoteSizeEx)
  select-key   ask which key to use (SelectAttKeyID), which costs the helper least
  init         make the key ready (InitQuoteEx): two requests on the socket, counted as one

The command stands in for an enclave with the simulated processor, so quotes need a
helper with --platform=simulated: SGX hardware refuses the report. With --report, all
quotes are of one that a genuine enclave has made, until the machine or its quoting
enclave is another. The other requests work with any helper, also with Intel's aesmd.

Requests without an answer when the time is over, or on Ctrl-C, are interrupted and
count neither as made nor as failed; how many, and for how long the first of them had
waited, is said. The latency is that of the requests that succeeded, to 1%. In JSON,
all times are numbers of seconds. There latencySeconds is null where no request
succeeded, and its p999 is the 99.9th percentile.

This loads the node, and quotes of other pods take longer meanwhile. In a pod, with
the image of confcom and an EPC limit, by which it comes to the socket:

  apiVersion: v1
  kind: Pod
  metadata: {name: bench}
  spec:
    restartPolicy: Never
    containers:
    - name: bench
      image: IMAGE
      args: [bench, --clients=64, --duration=30s]
      resources: {limits: {kubernetes.azure.com/sgx_epc_mem_in_MiB: 1}}

Exit codes: 0 all requests succeeded, 1 some failed or none was made, 2 bad input.`,
		Example: `  confcom bench
  confcom bench --clients=64 --requests=10000
  confcom bench --request=select-key -o json | jq .latencySeconds.p99`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := b.check(command); err != nil {
				return badInput(err)
			}
			ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			do, err := b.prepare(ctx)
			if err != nil {
				return failed(err)
			}
			var progress func(loadgen.Result)
			if output == formatText && isTerminal(command.ErrOrStderr()) {
				progress = benchProgress(command.ErrOrStderr())
			}
			result := loadgen.Run(ctx, loadgen.Options{
				Clients:  b.clients,
				Requests: b.requests,
				Duration: b.duration,
				Do:       do,
			}, progress)
			if output == formatJSON {
				err = writeJSON(command, newBenchReport(b, result))
			} else {
				err = showBench(command.OutOrStdout(), b, result)
			}
			switch {
			case err != nil:
				return failed(err)
			case result.Requests == 0:
				return failed(fmt.Errorf("no request was answered in %s", rounded(result.Elapsed)))
			case result.Failed > 0:
				return failed(nil) // the errors are said
			}
			return nil
		},
	}
	socketFlag(command, &b.client)
	reportFlag(command, &b.enclave)
	flags := command.Flags()
	flags.IntVar(&b.clients, "clients", 16, "how many clients ask at the same time")
	flags.DurationVar(&b.duration, "duration", 10*time.Second, "how long to measure")
	flags.Uint64Var(&b.requests, "requests", 0, "how many requests to make, instead of a time")
	b.request = requestQuote
	flags.Var(&b.request, "request", "what to ask: quote, quote-size, select-key or init")
	flags.DurationVar(&b.client.Timeout, "timeout", 15*time.Second, "how long a client waits for its reply")
	output.flag(command)
	return command
}

// check refuses what makes no sense, and settles what ends the measurement.
func (b *bench) check(command *cobra.Command) error {
	flags := command.Flags()
	switch {
	case b.clients < 1 || b.clients > maxBenchClients:
		return fmt.Errorf("--clients=%d: give 1 to %d", b.clients, maxBenchClients)
	case b.client.Timeout <= 0:
		return fmt.Errorf("--timeout=%s: give more than 0", b.client.Timeout)
	case b.duration <= 0:
		return fmt.Errorf("--duration=%s: give more than 0", b.duration)
	case !flags.Changed("requests"):
		return nil
	case flags.Changed("duration"):
		return errors.New("--duration and --requests: give one of them")
	case b.requests == 0:
		return errors.New("--requests=0: give more than 0")
	}
	b.duration = 0
	return nil
}

// prepare makes the key ready and returns what makes a request. A helper that is
// not there is noticed here.
func (b *bench) prepare(ctx context.Context) (func(context.Context) error, error) {
	if b.request == requestQuote {
		return loadgen.Quotes(ctx, &b.client, b.enclave.report, 0)
	}
	if _, err := b.client.InitQuote(ctx, aesm.IntelQE3KeyID()); err != nil {
		return nil, err
	}
	switch b.request {
	case requestQuoteSize:
		return loadgen.Sizes(&b.client), nil
	case requestSelectKey:
		return loadgen.Keys(&b.client), nil
	}
	return loadgen.Inits(&b.client), nil
}

// requestKind is what a benchmark asks for.
type requestKind string

const (
	requestQuote     requestKind = "quote"
	requestQuoteSize requestKind = "quote-size"
	requestSelectKey requestKind = "select-key"
	requestInit      requestKind = "init"
)

func (k *requestKind) String() string { return string(*k) }
func (k *requestKind) Type() string   { return "request" }

func (k *requestKind) Set(value string) error {
	switch v := requestKind(value); v {
	case requestQuote, requestQuoteSize, requestSelectKey, requestInit:
		*k = v
		return nil
	}
	return errors.New("none of quote, quote-size, select-key and init")
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 // or /dev/null, which does not mind
}

// benchProgress writes a line for each second, with what was done in it.
func benchProgress(w io.Writer) func(loadgen.Result) {
	var last loadgen.Result
	return func(now loadgen.Result) {
		rate := float64(now.Succeeded()-last.Succeeded()) / (now.Elapsed - last.Elapsed).Seconds()
		fmt.Fprintf(w, "%4.0fs  %9.1f/s  %d requests, %d failed\n", now.Elapsed.Seconds(), rate, now.Requests, now.Failed)
		last = now
	}
}

// showBench writes what was measured for people.
func showBench(w io.Writer, b bench, r loadgen.Result) error {
	p := &page{w: w}
	p.row("asked for", "%s, by %d clients, for %s", b.request, b.clients, rounded(r.Elapsed))
	p.row("requests", "%d", r.Requests)
	p.row("failed", "%d", r.Failed)
	for _, f := range failures(r) {
		p.text(fmt.Sprintf("  %d times", f.Count), f.Error)
	}
	if r.Interrupted > 0 {
		p.row("interrupted", "%d, the first had waited for %s", r.Interrupted, rounded(r.Waited))
	}
	if r.Succeeded() == 0 {
		return p.err
	}
	p.row("rate", "%.1f/s", r.Rate())
	p.line("")
	p.line("latency")
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
		p.row("  "+f.name, "%8s", rounded(f.time))
	}
	p.line("")
	showBuckets(p, r.Latency.Buckets(16))
	return p.err
}

// showBuckets draws a bar for the requests of each bucket, one below the other.
func showBuckets(p *page, buckets []loadgen.Bucket) {
	const width = 45 // with the numbers less than 80 columns
	var most uint64
	for _, b := range buckets {
		most = max(most, b.Count)
	}
	for _, b := range buckets {
		bar := strings.Repeat("#", int((b.Count*width+most/2)/most))
		p.line(strings.TrimRight(fmt.Sprintf("  up to %8s %9d  %s", b.To, b.Count, bar), " "))
	}
}

// rounded is a time with three digits.
func rounded(t time.Duration) time.Duration {
	unit := time.Duration(1)
	for t/unit >= 1000 {
		unit *= 10
	}
	return t.Round(unit)
}

// benchReport is what was measured, for programs. Times are in seconds.
type benchReport struct {
	Request       requestKind    `json:"request"`
	Clients       int            `json:"clients"`
	Elapsed       float64        `json:"elapsedSeconds"`
	Requests      uint64         `json:"requests"`
	Failed        uint64         `json:"failed"`
	Failures      []benchFailure `json:"failures"`
	Interrupted   uint64         `json:"interrupted"`
	Waited        float64        `json:"interruptedAfterSeconds"`
	RatePerSecond float64        `json:"ratePerSecond"`
	Latency       *benchLatency  `json:"latencySeconds"` // null where no request succeeded
	Buckets       []benchBucket  `json:"latencyBuckets"`
}

type benchFailure struct {
	Error string `json:"error"`
	Count uint64 `json:"count"`
}

type benchLatency struct {
	Min    float64 `json:"min"`
	Mean   float64 `json:"mean"`
	Median float64 `json:"median"`
	P90    float64 `json:"p90"`
	P99    float64 `json:"p99"`
	P999   float64 `json:"p999"`
	Max    float64 `json:"max"`
}

type benchBucket struct {
	From  float64 `json:"fromSeconds"`
	To    float64 `json:"toSeconds"`
	Count uint64  `json:"count"`
}

func newBenchReport(b bench, r loadgen.Result) benchReport {
	report := benchReport{
		Request:       b.request,
		Clients:       b.clients,
		Elapsed:       r.Elapsed.Seconds(),
		Requests:      r.Requests,
		Failed:        r.Failed,
		Failures:      failures(r),
		Interrupted:   r.Interrupted,
		Waited:        r.Waited.Seconds(),
		RatePerSecond: r.Rate(),
		Buckets:       []benchBucket{}, // an empty list rather than null
	}
	if r.Succeeded() > 0 {
		quantile := func(q float64) float64 { return r.Latency.Quantile(q).Seconds() }
		report.Latency = &benchLatency{
			Min:    r.Latency.Min().Seconds(),
			Mean:   r.Latency.Mean().Seconds(),
			Median: quantile(0.5),
			P90:    quantile(0.9),
			P99:    quantile(0.99),
			P999:   quantile(0.999),
			Max:    r.Latency.Max().Seconds(),
		}
	}
	for _, bucket := range r.Latency.Buckets(16) {
		report.Buckets = append(report.Buckets, benchBucket{bucket.From.Seconds(), bucket.To.Seconds(), bucket.Count})
	}
	return report
}

// failures are the errors, the most frequent first.
func failures(r loadgen.Result) []benchFailure {
	list := make([]benchFailure, 0, len(r.Failures))
	for _, text := range slices.Sorted(maps.Keys(r.Failures)) {
		list = append(list, benchFailure{text, r.Failures[text]})
	}
	slices.SortStableFunc(list, func(a, b benchFailure) int { return cmp.Compare(b.Count, a.Count) })
	return list
}
