package dcap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/link"
	"github.com/confcom/confcom/internal/backend/dcap/ql/quote3"
	"github.com/confcom/confcom/sgx"
)

// startTimeout is how long a worker may take from its start until it can quote.
// It may have to wait for the network.
const startTimeout = 60 * time.Second

// end is why a worker has ended.
type end string

// The ends, as the metrics name them.
const (
	endCrash   end = "crash"        // by itself
	endHang    end = "timeout"      // killed: it did not answer
	endBroken  end = "enclave_lost" // killed: its enclaves are gone
	endErrors  end = "errors"       // killed: it had one error after the other
	endMemory  end = "memory"       // replaced: it had grown
	endUpdate  end = "update"       // replaced: its files have changed
	endStopped end = "stopped"      // with the quote helper
	endStart   end = "start"        // it could not start
)

// worker is a process that makes quotes.
type worker struct {
	number int
	log    *slog.Logger
	cmd    *exec.Cmd
	dialer *link.Dialer
	client aesm.Client
	// timeout is how long it may take for an answer.
	timeout time.Duration

	// ended is closed when the process is gone. Then state says how, and said what
	// its log last had at ERROR.
	ended chan struct{}
	state *os.ProcessState
	said  string
	// killed is why it was killed: an end. It is empty where it was not.
	killed atomic.Value
	// elder is whether it serves reports only that were made for its target, which
	// the newer ones do not have.
	elder atomic.Bool
	// target is the quoting enclave that it has loaded, and never changes.
	target sgx.TargetInfo

	// What follows belongs to who has taken the worker from the pool.
	identity
	strikes int       // errors in a row
	asked   time.Time // when it was last asked
	files   files     // what it was loaded from
}

// start starts a process and returns when it can quote.
func (s *slot) start(ctx context.Context) (*worker, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	began := time.Now()
	before := s.files.look()
	w, err := s.spawn()
	if err != nil {
		return nil, err
	}
	if w.identity, err = w.initializeWithin(ctx, startTimeout); err != nil {
		w.kill(endStart)
		<-w.ended
		return nil, w.startError(err)
	}
	w.target = w.ready.TargetInfo
	w.files = filesOf(w.cmd.Process.Pid, s.Configuration).startingFrom(before)
	took := time.Since(began)
	s.metrics.starts.Observe(took.Seconds())
	w.log.Info("worker is ready", "pid", w.cmd.Process.Pid, "mrenclave", w.target.MREnclave.String(), "duration", took)
	return w, nil
}

// spawn starts a process.
func (s *slot) spawn() (*worker, error) {
	dialer, theirs, err := link.NewDialer()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	output, input, err := os.Pipe()
	if err != nil {
		dialer.Close()
		return nil, err
	}
	defer input.Close()
	level := "info"
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		level = "debug"
	}
	cmd := exec.Command(s.Program, append(slices.Clone(s.Args), "--log-format=json", "--log-level="+level)...)
	cmd.Env = withoutAESM(append(os.Environ(), s.Env...))
	cmd.Stdout, cmd.Stderr = input, input
	cmd.ExtraFiles = []*os.File{theirs} // link.FD
	// A Ctrl-C is for the helper, which ends its workers when it needs them no more.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		dialer.Close()
		output.Close()
		return nil, fmt.Errorf("the worker cannot be started: %w (confcom doctor --check=libraries)", err)
	}
	w := &worker{
		number: s.number, log: s.log, cmd: cmd, dialer: dialer, timeout: s.Timeout,
		client: aesm.Client{Socket: fmt.Sprintf("worker %d", s.number), Dial: dialer.Dial, Keep: dialer.Keep},
		ended:  make(chan struct{}),
	}
	s.slots.Go(func() {
		w.said = relay(w.log, output)
		_ = cmd.Wait() // the state says how it went
		w.state = cmd.ProcessState
		dialer.Close()
		close(w.ended)
	})
	return w, nil
}

// withoutAESM is an environment in which the library makes quotes itself.
func withoutAESM(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "SGX_AESM_ADDR=") })
}

// initialize has the worker make its key ready.
func (w *worker) initialize(ctx context.Context) (identity, error) {
	return w.initializeWithin(ctx, w.timeout)
}

func (w *worker) initializeWithin(ctx context.Context, timeout time.Duration) (id identity, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	w.asked = time.Now()
	if id.ready, err = w.client.InitQuote(ctx, aesm.IntelQE3KeyID()); err != nil {
		return id, w.explain(err)
	}
	id.size, err = w.client.QuoteSize(ctx, aesm.IntelQE3KeyID())
	return id, w.explain(err)
}

// askSize asks for the length of quotes.
func (w *worker) askSize(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	size, err := w.client.QuoteSize(ctx, aesm.IntelQE3KeyID())
	return size, w.explain(err)
}

// quote asks for a quote of at most size bytes.
func (w *worker) quote(ctx context.Context, report sgx.Report, size int, challenge *aesm.Challenge) (aesm.Quoted, error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	w.asked = time.Now()
	quoted, err := w.client.GetQuote(ctx, aesm.IntelQE3KeyID(), report, size, challenge)
	if err == nil && !isOf(quoted.Quote, report) {
		err = errNotOf
	}
	return quoted, w.explain(err)
}

var errNotOf = errors.New("its quote is not of the report that it was asked for")

// isOf tells whether a quote is of a report: whether it has its body, behind a
// header of 48 bytes (sgx_quote3_t).
func isOf(quote []byte, report sgx.Report) bool {
	const offBody = 48
	body, _ := report.Body.MarshalBinary()
	return len(quote) > offBody+len(body) && bytes.Equal(quote[offBody:offBody+len(body)], body)
}

// overdue tells whether the worker has had the time that it may take.
func (w *worker) overdue() bool { return time.Since(w.asked) >= w.timeout }

// explain makes a quote3.Error of the answer that carries one.
func (w *worker) explain(err error) error {
	refusal, ok := errors.AsType[*aesm.Error](err)
	if ok && quote3.Known(uint32(refusal.Code)) {
		return quote3.Error(refusal.Code)
	}
	return err
}

// unasked tells whether a request has failed because the worker was gone before it
// was asked.
func unasked(err error) bool { return errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) }

// why is what a request without a proper answer says about the worker.
func (w *worker) why(err error) end {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return endHang
	case errors.Is(err, aesm.ErrNoReply), unasked(err):
		return endCrash
	}
	return endErrors
}

// kill ends the process at once. Why it was is what counts first.
func (w *worker) kill(why end) {
	if why != endCrash { // that is what it did itself
		w.killed.CompareAndSwap(nil, why)
	}
	_ = w.cmd.Process.Kill() // it may be gone
}

// finish tells a worker that has nothing to do to end.
func (w *worker) finish() { w.dialer.Close() }

// how is the end of a process that is gone, and what is known of it.
func (w *worker) how() (end, string) {
	if why, ok := w.killed.Load().(end); ok {
		return why, string(why)
	}
	text := w.state.String()
	if w.said != "" {
		text += ": " + w.said
	}
	return endCrash, text
}

// startError says why a worker that is gone could not start. Err is what it has
// answered, or that it has not.
func (w *worker) startError(err error) error {
	code, ok := errors.AsType[quote3.Error](err)
	switch {
	case ok:
		return fmt.Errorf("its first request was answered with %w", code)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("it was not ready within %s: %w", startTimeout, err)
	case w.said != "":
		return errors.New(w.said)
	}
	return fmt.Errorf("it has ended with %s", w.state)
}
