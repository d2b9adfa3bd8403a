package soak

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/loadgen"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// requestKind is the kind of requests that a group of clients makes.
type requestKind string

const (
	requestOwnQuotes requestKind = "own quotes" // a quote of a new report each time; the quote is checked
	requestQuotes    requestKind = "quotes"     // a quote of the same report each time
	requestGiven     requestKind = "given"      // a quote of the report in the task
	requestHalfClose requestKind = "half-close" // a quote; the client closes its sending half at once
	requestSizes     requestKind = "sizes"
	requestKeys      requestKind = "keys"
	requestVerified  requestKind = "verifications" // of a quote, by the verifier service
)

// clientsTask is the task of a process of clients.
type clientsTask struct {
	Socket   string
	Groups   map[requestKind]int // number of clients of each kind
	Report   []byte              // for requestGiven
	Verifier string              // the address of the verifier service, for requestVerified
	Requests uint64              // per group; 0: no limit
	Duration time.Duration       // 0: until stopped
}

// answers are the results of a group of clients.
type answers struct {
	Requests, Failed  uint64
	Failures          map[string]uint64
	Seconds           float64
	Median, P99, Max  time.Duration
	InterruptedAfter  time.Duration // the longest wait of a request interrupted by the stop
	InterruptedAtStop uint64
}

func newAnswers(r loadgen.Result) answers {
	return answers{
		Requests: r.Requests, Failed: r.Failed, Failures: r.Failures, Seconds: r.Elapsed.Seconds(),
		Median: r.Latency.Quantile(0.5), P99: r.Latency.Quantile(0.99), Max: r.Latency.Max(),
		InterruptedAfter: r.LongestWait, InterruptedAtStop: r.Cancelled,
	}
}

// rate returns successful requests per second.
func (a answers) rate() float64 { return float64(a.Requests-a.Failed) / a.Seconds }

// add adds the results of another run. Of two latencies it keeps the longer one.
func (a *answers) add(b answers) {
	a.Requests += b.Requests
	a.Failed += b.Failed
	a.Seconds += b.Seconds
	a.Median, a.P99, a.Max = max(a.Median, b.Median), max(a.P99, b.P99), max(a.Max, b.Max)
	a.InterruptedAfter = max(a.InterruptedAfter, b.InterruptedAfter)
	a.InterruptedAtStop += b.InterruptedAtStop
	if a.Failures == nil {
		a.Failures = make(map[string]uint64)
	}
	maps.Copy(a.Failures, b.Failures)
}

// askAll prepares the requests of all groups, which then run concurrently.
func askAll(ctx context.Context, task clientsTask) (func(context.Context) map[requestKind]answers, error) {
	requests := make(map[requestKind]func(context.Context) error)
	for what := range task.Groups {
		client := &aesm.Client{Socket: task.Socket}
		var err error
		switch what {
		case requestGiven:
			requests[what], err = givenQuotes(client, task.Report)
		case requestVerified:
			requests[what], err = verifications(ctx, client, task.Verifier)
		default:
			requests[what], err = newRequest(ctx, what, client)
		}
		if err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) map[requestKind]answers {
		all := make(map[requestKind]answers)
		var mu sync.Mutex
		var running sync.WaitGroup
		for what, do := range requests {
			running.Go(func() {
				result := loadgen.Run(ctx, loadgen.Options{Clients: task.Groups[what], Requests: task.Requests, Duration: task.Duration, Do: do}, nil)
				mu.Lock()
				defer mu.Unlock()
				all[what] = newAnswers(result)
			})
		}
		running.Wait()
		return all
	}, nil
}

// bufferSize is the size of Gramine's buffer for a quote, in bytes.
const bufferSize = 8192

func newRequest(ctx context.Context, what requestKind, client *aesm.Client) (func(context.Context) error, error) {
	switch what {
	case requestSizes:
		return loadgen.Sizes(client), nil
	case requestKeys:
		return loadgen.Keys(client), nil
	case requestQuotes:
		return loadgen.Quotes(ctx, client, func(_ context.Context, target sgx.TargetInfo) (sgx.Report, error) {
			return simulation.DefaultCPU().Report(sgx.ReportBody{}, target)
		}, bufferSize)
	case requestHalfClose:
		frames, err := genuine(ctx, client.Socket)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error { return halfClose(ctx, client.Socket, frames[frameQuote]) }, nil
	case requestOwnQuotes:
		ready, err := client.InitQuote(ctx, aesm.IntelQE3KeyID())
		return func(ctx context.Context) error { return ownQuote(ctx, client, ready.TargetInfo) }, err
	}
	return nil, fmt.Errorf("unknown kind of request %q", what)
}

// givenQuotes requests quotes of a report, without any other request before.
func givenQuotes(client *aesm.Client, binary []byte) (func(context.Context) error, error) {
	var report sgx.Report
	err := report.UnmarshalBinary(binary)
	return func(ctx context.Context) error {
		_, err := client.GetQuote(ctx, aesm.IntelQE3KeyID(), report, bufferSize, nil)
		return err
	}, err
}

// ownQuote requests a quote of a new report, and checks that it is of that report: under
// load, a faulty server may mix up replies.
func ownQuote(ctx context.Context, client *aesm.Client, target sgx.TargetInfo) error {
	var body sgx.ReportBody
	_, _ = rand.Read(body.ReportData[:]) // never fails
	report, err := simulation.DefaultCPU().Report(body, target)
	if err != nil {
		return err
	}
	quoted, err := client.GetQuote(ctx, aesm.IntelQE3KeyID(), report, bufferSize, nil)
	if err != nil {
		return err
	}
	want, err := report.MarshalBinary()
	if err != nil {
		return err
	}
	const offBody = 48
	if got := quoted.Quote[offBody:][:sgx.ReportBodySize]; !bytes.Equal(got, want[:sgx.ReportBodySize]) {
		return fmt.Errorf("requested a quote of %x, got one of %x", want[:sgx.ReportBodySize], got)
	}
	return nil
}

// halfClose requests a quote and closes its sending half at once.
func halfClose(ctx context.Context, socket string, frame []byte) error {
	conn, err := dial(ctx, socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(frame); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	reply, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if len(reply) < bufferSize || int(binary.LittleEndian.Uint32(reply)) != len(reply)-4 {
		return fmt.Errorf("reply of %d bytes to a client that closed its sending half", len(reply))
	}
	return nil
}

// dial connects, and retries while the daemon's backlog is full.
func dial(ctx context.Context, socket string) (*net.UnixConn, error) {
	return backoff.Retry(ctx, func() (*net.UnixConn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", socket)
		switch {
		case err == nil:
			return conn.(*net.UnixConn), nil
		case full(err):
			return nil, err
		}
		return nil, backoff.Permanent(err)
	}, backoff.WithBackOff(backoff.NewConstantBackOff(10*time.Millisecond)), backoff.WithMaxElapsedTime(0))
}
