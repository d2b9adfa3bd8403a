// Package fetch asks the quote provider for the platform's certificates in a process
// of its own, which is thrown away afterwards.
//
// A provider may return memory that is not valid, crash on the answer of its service,
// or never return. In its own process it takes nothing else with it, and can be
// killed.
//
// The process is this program with another argument. It reads the query from its
// standard input and writes the result to descriptor FD, both in JSON. It logs as the
// program does, in JSON as well.
package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
)

// FD is the descriptor for the result: the first of exec.Cmd.ExtraFiles.
const FD = 3

// Limits in bytes.
const (
	maxQuery  = 16 << 10
	maxResult = 256 << 10
)

// Request is a request of the provider to a service, as the provider has logged it.
type Request struct {
	URL    string // of the service, without the query and what may be a secret
	Status int    // of HTTP; 0 if there was none
	// CURL is the error of libcurl: its number and, if the provider logs it, its text.
	// It is empty if there was none.
	CURL string
}

// Provider asks the quote provider, and also returns what that has logged of its requests.
type Provider func(ctx context.Context, q certificates.Query) (certificates.Answer, []Request, error)

// result is what the process writes.
type result struct {
	Answer   certificates.Answer
	Requests []Request
	Code     uint32 // a quote3_error_t, or 0
	// Failure is why there is no answer; empty if there is one.
	Failure string
	Useless bool // there was one, but of no use
	Loading bool // the provider could not be loaded, and was not asked
}

// LoadError is the error of a Provider that could not load the quote provider.
type LoadError struct{ Err error }

func (e *LoadError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *LoadError) Unwrap() error { return e.Err }

// Fetcher starts processes that ask the provider.
type Fetcher struct {
	// Command is the program and its arguments.
	Command []string
	// Service names the service that the provider asks, for errors.
	Service string
	// Timeout is how long a process may take before it is killed.
	Timeout time.Duration
	// Env is the environment of the processes; nil means that of this one.
	Env []string
	// Log receives the log of the processes; nil means standard error.
	Log io.Writer
}

// Fetch is a certificates.Provider. Its errors name the service.
func (f *Fetcher) Fetch(ctx context.Context, q certificates.Query) (certificates.Answer, error) {
	answer, _, err := f.Ask(ctx, q)
	return answer, err
}

// Ask is Fetch that also returns the requests of the provider. It is a Provider.
func (f *Fetcher) Ask(ctx context.Context, q certificates.Query) (certificates.Answer, []Request, error) {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	query, err := json.Marshal(q)
	if err != nil {
		return certificates.Answer{}, nil, err
	}
	text, end, err := f.run(ctx, query)
	if err != nil {
		return certificates.Answer{}, nil, fmt.Errorf("ask the provider: %w", err)
	}
	r, err := f.interpret(ctx, text, end)
	return r.Answer, r.Requests, err
}

// interpret returns the result that a process has written, and its error. The text may be
// anything, and end is how the process has ended.
func (f *Fetcher) interpret(ctx context.Context, text []byte, end string) (r result, err error) {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return result{}, ctx.Err()
	case ctx.Err() != nil:
		return result{}, fmt.Errorf("no answer from %s within %s: %w", f.Service, f.Timeout, quote3.ServiceTimeout)
	case len(text) == 0 || len(text) > maxResult || json.Unmarshal(text, &r) != nil:
		return result{}, &certificates.UselessError{Err: fmt.Errorf("the provider crashed on the answer of %s (%s)", f.Service, end)}
	case r.Failure == "":
		return r, nil
	case r.Useless:
		return r, &certificates.UselessError{Err: fmt.Errorf("the answer of %s is of no use: %s", f.Service, r.Failure)}
	}
	what := "ask " + f.Service
	if r.Loading {
		what = "load the quote provider"
	}
	if !quote3.Known(r.Code) {
		return r, fmt.Errorf("%s: %s", what, r.Failure)
	}
	return r, &failure{what + ": " + r.Failure, quote3.Error(r.Code)}
}

// failure is an error with the code of the provider, which its text names.
type failure struct {
	text string
	code quote3.Error
}

func (e *failure) Error() string { return e.text }
func (e *failure) Unwrap() error { return e.code }

// run runs a process, and returns what it has written and how it has ended.
func (f *Fetcher) run(ctx context.Context, query []byte) (text []byte, end string, err error) {
	output, input, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.CommandContext(ctx, f.Command[0], f.Command[1:]...)
	cmd.Stdin = bytes.NewReader(query)
	cmd.Env = f.Env
	log := &logFilter{to: f.Log}
	if f.Log == nil {
		log.to = os.Stderr
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = time.Second        // where somebody else has the output
	cmd.ExtraFiles = []*os.File{input} // FD
	// The process ends with this one. The kernel counts the thread that has started it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	input.Close()
	if err != nil {
		output.Close()
		return nil, "", err
	}
	var readErr error
	var reading sync.WaitGroup
	reading.Go(func() {
		text, readErr = io.ReadAll(io.LimitReader(output, maxResult+1))
		output.Close() // which ends a process that writes more
	})
	_ = cmd.Wait() // what it has written, or has not, is the result
	// What the process has started may live on, and has the descriptor as well.
	_ = output.SetReadDeadline(time.Now().Add(cmd.WaitDelay)) // an error means that all is read
	reading.Wait()
	if errors.Is(readErr, os.ErrDeadlineExceeded) {
		readErr = nil
	}
	end = cmd.ProcessState.String()
	if log.plain != "" {
		end += ": " + log.plain
	}
	return text, end, readErr
}

// Serve is the process: it reads the query, asks the provider and writes the result.
func Serve(ctx context.Context, in io.Reader, out io.Writer, provider Provider) error {
	text, err := io.ReadAll(io.LimitReader(in, maxQuery+1))
	if err != nil {
		return fmt.Errorf("read query: %w", err)
	}
	var q certificates.Query
	if err := json.Unmarshal(text, &q); err != nil {
		return fmt.Errorf("parse query: %w", err)
	}
	var r result
	r.Answer, r.Requests, err = provider(ctx, q)
	if err != nil {
		code, _ := errors.AsType[quote3.Error](err)
		_, useless := errors.AsType[*certificates.UselessError](err)
		_, loading := errors.AsType[*LoadError](err)
		r = result{Requests: r.Requests, Code: uint32(code), Failure: err.Error(), Useless: useless, Loading: loading}
	}
	text, err = json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}
