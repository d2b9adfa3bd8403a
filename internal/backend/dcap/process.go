package dcap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/dcap/link"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
)

// reason is why a worker has ended, or has not started, as the metrics name it.
type reason string

// The reasons.
const (
	reasonCrash       reason = "crash"        // it ended unasked
	reasonTimeout     reason = "timeout"      // killed: it did not reply in time
	reasonEnclaveLost reason = "enclave_lost" // killed: its enclaves are lost
	reasonErrors      reason = "errors"       // killed: consecutive failures, or a malformed reply
	reasonMemory      reason = "memory"       // replaced: it had grown
	reasonUpdate      reason = "update"       // replaced: its files have changed
	reasonStopped     reason = "stopped"      // the pool has ended it
	reasonStart       reason = "start"        // it did not start
)

// process is a worker process. It is safe for concurrent use.
type process struct {
	cmd    *exec.Cmd
	client *link.Client
	// killed is why the process was killed first, or nil.
	killed atomic.Pointer[reason]
	// ended is closed when the process is gone. lastError and state are set then.
	ended     chan struct{}
	lastError string // that the process has logged
	state     *os.ProcessState
}

const (
	// drainTimeout is how long the log of a process that is gone may take to end.
	drainTimeout = time.Second
	// finishTimeout is how long a process that did not start may take to end unasked.
	finishTimeout = time.Second
)

// startProcess starts a worker process. It logs what the process logs.
func startProcess(c config.Config, log *slog.Logger) (*process, error) {
	client, theirs, err := link.NewClient()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	output, input, err := os.Pipe()
	if err != nil {
		client.Close()
		return nil, err
	}
	defer input.Close()
	level := "info"
	if log.Enabled(context.Background(), slog.LevelDebug) {
		level = "debug"
	}
	cmd := exec.Command(c.Program, "--config="+c.Encode(), "--log-format=json", "--log-level="+level)
	cmd.Env = environment(c)
	cmd.Stdout, cmd.Stderr = input, input
	cmd.ExtraFiles = []*os.File{theirs} // link.FD
	// Ctrl-C is for the helper, which ends its workers when it needs them no longer.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		client.Close()
		output.Close()
		return nil, fmt.Errorf("start worker process: %w: --worker-program must be the sgx-quote-worker of this release", err)
	}
	p := &process{cmd: cmd, client: client, ended: make(chan struct{})}
	go func() { // until the process is gone, for which all that have a process wait
		relayed := make(chan struct{})
		go func() {
			defer close(relayed)
			p.lastError = relay(log, output)
		}()
		_ = cmd.Wait() // the state has the result
		// What the process has started may live on, and has the pipe as well.
		_ = output.SetReadDeadline(time.Now().Add(drainTimeout)) // an error means that all is read
		<-relayed
		p.state = cmd.ProcessState
		client.Close()
		close(p.ended)
	}()
	return p, nil
}

// environment returns the environment of the workers. It tells the provider where
// its configuration is and, unless the environment says so already, where Azure's
// may write. Without SGX_AESM_ADDR the library makes the quotes itself.
func environment(c config.Config) []string {
	env := c.Env
	if env == nil {
		env = os.Environ()
	}
	has := func(name string) bool {
		return slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	}
	result := slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, "SGX_AESM_ADDR=") })
	result = append(result, "QCNL_CONF_PATH="+c.QCNL)
	if !has("AZDCAP_CACHE") || slices.Contains(env, "AZDCAP_CACHE=") {
		result = append(result, "AZDCAP_CACHE="+c.Certificates)
	}
	return result
}

// Ended is closed when the process is gone.
func (p *process) Ended() <-chan struct{} { return p.ended }

// Finish asks a process that serves nothing to end.
func (p *process) Finish() { p.client.Close() }

// Kill ends the process at once.
func (p *process) Kill() { p.killFor(reasonStopped) }

// endStart ends a process that did not start, and returns when it is gone. err is that of
// its first request. One that has replied may end by itself, so that it writes the rest of
// its log, which has the cause.
func (p *process) endStart(ctx context.Context, err error) {
	_, isCode := errors.AsType[quote3.Error](err)
	_, isFailure := errors.AsType[*link.FailureError](err)
	if isCode || isFailure {
		p.Finish()
		timer := time.NewTimer(finishTimeout)
		defer timer.Stop()
		select {
		case <-p.ended:
			return
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	p.killFor(reasonStart)
	<-p.ended
}

// killFor ends the process at once, for a reason. The first reason counts.
func (p *process) killFor(why reason) {
	if why != reasonCrash { // which is what the process has done itself
		p.killed.CompareAndSwap(nil, &why)
	}
	_ = p.cmd.Process.Kill() // it may be gone
}

// pid returns the number of the process.
func (p *process) pid() int { return p.cmd.Process.Pid }

// end returns why a process that is gone has ended, and a description of its end.
func (p *process) end() (why reason, description string) {
	if why := p.killed.Load(); why != nil {
		return *why, string(*why)
	}
	description = p.state.String()
	if p.lastError != "" {
		description += ": " + p.lastError
	}
	return reasonCrash, description
}

// startError returns why a process that is gone did not start. err is that of its
// first request.
func (p *process) startError(err error) error {
	_, isCode := errors.AsType[quote3.Error](err)
	_, isFailure := errors.AsType[*link.FailureError](err)
	switch {
	case isCode, isFailure:
		return fmt.Errorf("initialize: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("not ready within %s: %w", startTimeout, err)
	case p.lastError != "":
		return errors.New(p.lastError)
	}
	return fmt.Errorf("initialize: worker ended with %s: %w", p.state, err)
}
