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

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/loadgen"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// asking is what a group of clients asks for.
type asking string

const (
	askOwnQuotes asking = "own quotes" // a quote of another report each time, which is looked at
	askQuotes    asking = "quotes"     // a quote of the same report
	askGiven     asking = "given"      // a quote of the report of the task
	askHalf      asking = "half-close" // the same, and closes its sending half at once
	askSizes     asking = "sizes"
	askKeys      asking = "keys"
)

// clientsTask is for a process of clients.
type clientsTask struct {
	Socket   string
	Groups   map[asking]int // how many clients of each
	Report   []byte         // for askGiven
	Requests uint64         // how many each group makes in all; 0 is no limit
	Duration time.Duration  // 0 until it is to stop
}

// answers are what a group of clients got.
type answers struct {
	Requests, Failed  uint64
	Failures          map[string]uint64
	Seconds           float64
	Median, P99, Max  time.Duration
	InterruptedAfter  time.Duration // how long the last requests have waited, at most
	InterruptedAtStop uint64
}

func newAnswers(r loadgen.Result) answers {
	return answers{
		Requests: r.Requests, Failed: r.Failed, Failures: r.Failures, Seconds: r.Elapsed.Seconds(),
		Median: r.Latency.Quantile(0.5), P99: r.Latency.Quantile(0.99), Max: r.Latency.Max(),
		InterruptedAfter: r.LongestWait, InterruptedAtStop: r.Cancelled,
	}
}

// rate is requests that succeeded for each second.
func (a answers) rate() float64 { return float64(a.Requests-a.Failed) / a.Seconds }

// add adds what came of another run; of the latencies it keeps the worse.
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

// askAll has all groups ask at once.
func askAll(ctx context.Context, task clientsTask) (func(context.Context) map[asking]answers, error) {
	requests := make(map[asking]func(context.Context) error)
	for what := range task.Groups {
		client := &aesm.Client{Socket: task.Socket}
		var err error
		if what == askGiven {
			requests[what], err = givenQuotes(client, task.Report)
		} else {
			requests[what], err = newRequest(ctx, what, client)
		}
		if err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) map[asking]answers {
		all := make(map[asking]answers)
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

// room is the buffer for a quote that Gramine has, in bytes.
const room = 8192

func newRequest(ctx context.Context, what asking, client *aesm.Client) (func(context.Context) error, error) {
	switch what {
	case askSizes:
		return loadgen.Sizes(client), nil
	case askKeys:
		return loadgen.Keys(client), nil
	case askQuotes:
		return loadgen.Quotes(ctx, client, func(_ context.Context, target sgx.TargetInfo) (sgx.Report, error) {
			return simulation.DefaultCPU().Report(sgx.ReportBody{}, target)
		}, room)
	case askHalf:
		frames, err := genuine(ctx, client.Socket)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error { return halfClose(ctx, client.Socket, frames[frameQuote]) }, nil
	case askOwnQuotes:
		ready, err := client.InitQuote(ctx, aesm.IntelQE3KeyID())
		return func(ctx context.Context) error { return ownQuote(ctx, client, ready.TargetInfo) }, err
	}
	return nil, fmt.Errorf("nobody asks for %q", what)
}

// givenQuotes asks for quotes of a report, and for nothing else before.
func givenQuotes(client *aesm.Client, binary []byte) (func(context.Context) error, error) {
	var report sgx.Report
	err := report.UnmarshalBinary(binary)
	return func(ctx context.Context) error {
		_, err := client.GetQuote(ctx, aesm.IntelQE3KeyID(), report, room, nil)
		return err
	}, err
}

// ownQuote asks for a quote of a new report. It has to be of that one: under load,
// a server may mix things up.
func ownQuote(ctx context.Context, client *aesm.Client, target sgx.TargetInfo) error {
	var body sgx.ReportBody
	_, _ = rand.Read(body.ReportData[:]) // never fails
	report, err := simulation.DefaultCPU().Report(body, target)
	if err != nil {
		return err
	}
	quoted, err := client.GetQuote(ctx, aesm.IntelQE3KeyID(), report, room, nil)
	if err != nil {
		return err
	}
	want, err := report.MarshalBinary()
	if err != nil {
		return err
	}
	const offBody = 48
	if got := quoted.Quote[offBody:][:sgx.ReportBodySize]; !bytes.Equal(got, want[:sgx.ReportBodySize]) {
		return fmt.Errorf("asked for a quote of %x, got one of %x", want[:sgx.ReportBodySize], got)
	}
	return nil
}

// halfClose asks and says at once that there will be no more requests.
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
	if len(reply) < room || int(binary.LittleEndian.Uint32(reply)) != len(reply)-4 {
		return fmt.Errorf("a reply of %d bytes to a client that has closed its sending half", len(reply))
	}
	return nil
}

// dial connects, as soon as the daemon's backlog lets it.
func dial(ctx context.Context, socket string) (*net.UnixConn, error) {
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", socket)
		if err == nil {
			return conn.(*net.UnixConn), nil
		}
		if !full(err) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
