package soak

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/loadgen"
)

// answerWithin bounds the time to an answer, whatever the backend does: the 10 seconds of
// the quote service, and a second for everything else.
const answerWithin = 11 * time.Second

// phase is a time in which the backend fails.
type phase struct {
	mode     failureMode
	duration time.Duration
	code     aesm.Code // with which requests may fail; CodeSuccess if none may
}

// phases returns the phases of the backend, between which it works. A backend that hangs
// fails no request if it recovers in time.
func phases(all time.Duration) []phase {
	const short = 300 * time.Millisecond
	p := []phase{
		{modeHang, min(all/4, 3*time.Second), aesm.CodeSuccess},
		{modeCode, short, failureCode},
		{modeError, short, aesm.CodeUnexpected},
		{modePanic, short, aesm.CodeUnexpected},
	}
	if all >= time.Minute {
		p = append(p, phase{modeHang, 13 * time.Second, aesm.CodeBusy})
	}
	return p
}

// expectations are the codes with which requests may fail, one for each phase so far.
type expectations struct {
	mu         sync.Mutex
	codes      []aesm.Code
	unexpected uint64 // answers of CodeUnexpected
}

// begin begins a phase.
func (e *expectations) begin(code aesm.Code) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.codes = append(e.codes, code)
}

// phase returns the current phase.
func (e *expectations) phase() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.codes) - 1
}

// check returns the error of a request that began in a phase, unless the request may fail
// with it.
func (e *expectations) check(phase int, err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	refused, ok := errors.AsType[*aesm.Error](err)
	if !ok {
		return err
	}
	if refused.Code == aesm.CodeUnexpected {
		e.unexpected++
	}
	for _, code := range e.codes[phase:] {
		if code != aesm.CodeSuccess && refused.Code == code {
			return nil
		}
	}
	return err
}

// TestFailureModes has the backend hang, fail and panic. Clients must see only that, in
// time, and no failure once it has recovered.
func TestFailureModes(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	helper := serveHelper(t, socket, backendFailing, 2)

	client := &aesm.Client{Socket: socket}
	quote, err := newRequest(t.Context(), requestQuotes, client)
	if err != nil {
		t.Fatal(err)
	}
	expected := &expectations{codes: []aesm.Code{aesm.CodeSuccess}}
	ask := func(ctx context.Context) error {
		phase, start := expected.phase(), time.Now()
		err := expected.check(phase, quote(ctx))
		if took := time.Since(start); took > answerWithin {
			err = errors.Join(err, fmt.Errorf("answered after %s, want at most %s", took, answerWithin))
		}
		return err
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	asked := make(chan loadgen.Result, 1)
	go func() { asked <- loadgen.Run(ctx, loadgen.Options{Clients: 16, Do: ask}, nil) }()

	var panics panics
	end := time.Now().Add(*soakFor)
	for round := 0; round == 0 || time.Now().Before(end); round++ {
		for _, p := range phases(*soakFor) {
			expected.begin(p.code)
			helper.setMode(t, p.mode)
			time.Sleep(p.duration)
			panics = helper.setMode(t, modeNone)
			expected.begin(aesm.CodeSuccess)
			if err := quote(t.Context()); err != nil {
				t.Errorf("first quote after failure mode %s: %v", p.mode, err)
			}
			time.Sleep(200 * time.Millisecond) // requests without failures
		}
	}
	stop()
	r := <-asked
	if r.Failed > 0 || r.Succeeded() == 0 || r.LongestWait > answerWithin {
		t.Errorf("%d of %d requests failed or were late, cancelled ones waited up to %s: %v", r.Failed, r.Requests, r.LongestWait, r.Failures)
	}

	m := helper.mustMetrics(t)
	if panics.Quote == 0 || m[metricPanics] != float64(panics.Quote) {
		t.Errorf("%v panics counted, want %d", m[metricPanics], panics.Quote)
	}
	const unexpected = `sgx_quote_helper_requests_total{code="UNEXPECTED",request="GetQuoteEx"}`
	if m[unexpected] != float64(expected.unexpected) {
		t.Errorf("%v answers of UNEXPECTED counted, clients got %d", m[unexpected], expected.unexpected)
	}
	helper.terminate(t)
	t.Logf("%d quotes, answered within %s; %d panics", r.Requests, r.Latency.Max(), panics.Quote)
}

// TestPanicAtStart has the backend panic at the first check. The helper must survive, and
// make quotes once the backend has recovered.
func TestPanicAtStart(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	helper := serveHelper(t, socket, backendFailing, 1, "--failure-mode="+string(modePanic))
	for start := time.Now(); helper.setMode(t, modePanic).InitQuote == 0; {
		if time.Since(start) > patience {
			t.Fatal("the backend was not checked")
		}
		time.Sleep(10 * time.Millisecond)
	}
	helper.setMode(t, modeNone)
	quote, err := newRequest(t.Context(), requestQuotes, &aesm.Client{Socket: socket})
	if err == nil {
		err = quote(t.Context())
	}
	if err != nil {
		t.Error(err)
	}
	helper.terminate(t)
}
