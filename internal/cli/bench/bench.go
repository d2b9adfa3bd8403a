// Package bench is the command 'confcom bench', which measures a quote helper.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/cli/args"
	"github.com/confcom/confcom/internal/cli/enclave"
	"github.com/confcom/confcom/internal/cli/exit"
	"github.com/confcom/confcom/internal/cli/output"
	"github.com/confcom/confcom/internal/loadgen"
)

// maxClients is far more than a quote helper accepts connections.
const maxClients = 10000

// New returns the command.
func New() *cobra.Command {
	command := &cobra.Command{
		Use:   "bench",
		Short: "Measure the throughput and latency of a quote helper",
		Long: `Measure the throughput and latency of a quote helper. A number of clients send requests
back to back: each sends its next request when the last one is answered, over a new
connection, as applications do.

  quote        request a quote of a report that was prepared in advance (GetQuoteEx)
  quote-size   request the size of a quote (GetQuoteSizeEx)
  select-key   request the ID of the attestation key (SelectAttKeyID), the cheapest request
  init         initialize the attestation key (InitQuoteEx): two requests on the socket,
               counted as one

The command stands in for an enclave with a simulated processor, so benchmarks of quotes
need a quote helper with --platform=simulated; SGX hardware rejects the simulated report.
With --report, all quotes are of a report that a genuine enclave has made. Such a report
is valid until the machine or its quoting enclave changes. The other requests work with
any quote helper, and with Intel's aesmd.

Requests still in flight at the end, or on Ctrl-C, are cancelled. They count as neither
successes nor failures; the report shows their number and the longest wait. Latency is
that of successful requests, within 1%. In JSON, all times are in seconds,
latencySeconds is null if no request succeeded, and its p999 is the 99.9th percentile.

The benchmark loads the node and slows down the quotes of other pods. To run it in a
pod, use the confcom image and an EPC (Enclave Page Cache) limit, which gives the pod
the socket:

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

Exit codes: 0 all requests succeeded; 1 a request failed, or none was answered; 2 bad
input.`,
		Example: `  confcom bench
  confcom bench --clients=64 --requests=10000
  confcom bench --request=select-key -o json | jq .latencySeconds.p99`,
		Args: args.None,
	}
	b := benchmark{request: requestQuote}
	flags := command.Flags()
	enclave.SocketFlag(command, &b.client)
	b.enclave.ReportFlag(command)
	flags.IntVar(&b.clients, "clients", 16, "number of clients")
	flags.DurationVar(&b.duration, "duration", 10*time.Second, "duration of the measurement")
	flags.Uint64Var(&b.requests, "requests", 0, "measure this `number` of requests, instead of a duration")
	flags.Var(&b.request, "request", "what to request")
	flags.DurationVar(&b.client.Timeout, "timeout", 15*time.Second, "timeout of each request")
	format := output.FormatFlag(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		if err := b.check(command); err != nil {
			return err
		}
		result, err := b.run(command.Context(), progress(command.ErrOrStderr(), *format))
		if err != nil {
			return exit.Failed(err)
		}
		if *format == output.JSON {
			err = output.WriteJSON(command, newReport(b, result))
		} else {
			err = show(command.OutOrStdout(), b, result)
		}
		switch {
		case err != nil:
			return exit.Failed(err)
		case result.Requests == 0:
			return exit.Failed(fmt.Errorf("no request was answered within %s", rounded(result.Elapsed)))
		case result.Failed > 0:
			return exit.Quietly(exit.CodeFailed)
		}
		return nil
	}
	return command
}

// benchmark is what the command line asks for.
type benchmark struct {
	client   aesm.Client
	clients  int
	duration time.Duration
	requests uint64
	request  requestKind
	enclave  enclave.Enclave
}

// check refuses values that make no sense, and chooses the limit of the measurement.
func (b *benchmark) check(command *cobra.Command) error {
	flags := command.Flags()
	switch {
	case b.clients < 1 || b.clients > maxClients:
		return fmt.Errorf("--clients=%d: must be from 1 to %d", b.clients, maxClients)
	case b.client.Timeout <= 0:
		return fmt.Errorf("--timeout=%s: must be greater than 0", b.client.Timeout)
	case b.duration <= 0:
		return fmt.Errorf("--duration=%s: must be greater than 0", b.duration)
	case !flags.Changed("requests"):
		return nil
	case flags.Changed("duration"):
		return errors.New("--duration and --requests: pass only one of them")
	case b.requests == 0:
		return errors.New("--requests=0: must be greater than 0")
	}
	b.duration = 0
	return nil
}

// run measures until the limit of the benchmark, or until Ctrl-C.
func (b *benchmark) run(ctx context.Context, progress func(loadgen.Result)) (loadgen.Result, error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	do, err := b.prepare(ctx)
	if err != nil {
		return loadgen.Result{}, err
	}
	return loadgen.Run(ctx, loadgen.Options{
		Clients:  b.clients,
		Requests: b.requests,
		Duration: b.duration,
		Do:       do,
	}, progress), nil
}

// prepare initializes the key, which fails if there is no quote helper, and returns the
// function that makes a request.
func (b *benchmark) prepare(ctx context.Context) (func(context.Context) error, error) {
	if b.request == requestQuote {
		return loadgen.Quotes(ctx, &b.client, b.enclave.Report, 0)
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

// progress returns a function that shows the progress, or nil if nobody watches.
func progress(w io.Writer, format output.Format) func(loadgen.Result) {
	if format != output.Text || !output.IsTerminal(w) {
		return nil
	}
	return showProgress(w)
}

// requestKind is the value of the flag --request.
type requestKind string

const (
	requestQuote     requestKind = "quote"
	requestQuoteSize requestKind = "quote-size"
	requestSelectKey requestKind = "select-key"
	requestInit      requestKind = "init"
)

func requestKinds() []string {
	return []string{string(requestQuote), string(requestQuoteSize), string(requestSelectKey), string(requestInit)}
}

func (k *requestKind) String() string { return string(*k) }
func (k *requestKind) Type() string   { return strings.Join(requestKinds(), "|") }

func (k *requestKind) Set(value string) error {
	if !slices.Contains(requestKinds(), value) {
		return errors.New("not one of " + strings.Join(requestKinds(), ", "))
	}
	*k = requestKind(value)
	return nil
}
