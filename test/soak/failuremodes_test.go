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

// answerWithin is how long a client waits at most, whatever the platform does:
// the 10 seconds of the quote service and a second for the way.
const answerWithin = 11 * time.Second

// phase is a time in which the platform has a mood.
type phase struct {
	mood mood
	last time.Duration
	code aesm.Code // with which quotes may fail; CodeSuccess where none may
}

// phases are what the platform goes through, in between it is good. Hanging is no
// failure as long as it ends in time.
func phases(all time.Duration) []phase {
	const short = 300 * time.Millisecond
	p := []phase{
		{moodHang, min(all/4, 3*time.Second), aesm.CodeSuccess},
		{moodCode, short, codeOfMood},
		{moodFailure, short, aesm.CodeUnexpected},
		{moodPanic, short, aesm.CodeUnexpected},
	}
	if all >= time.Minute {
		p = append(p, phase{moodHang, 13 * time.Second, aesm.CodeBusy})
	}
	return p
}

// announcements say which failures a quote may have, since when.
type announcements struct {
	mu    sync.Mutex
	codes []aesm.Code
	wrong uint64 // answers of CodeUnexpected
}

func (a *announcements) add(code aesm.Code) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.codes = append(a.codes, code)
}

// now names this moment for since.
func (a *announcements) now() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.codes) - 1
}

// check returns err, unless such a failure was announced since then.
func (a *announcements) check(since int, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	refused, ok := errors.AsType[*aesm.Error](err)
	if !ok {
		return err
	}
	if refused.Code == aesm.CodeUnexpected {
		a.wrong++
	}
	for _, code := range a.codes[since:] {
		if code != aesm.CodeSuccess && refused.Code == code {
			return nil
		}
	}
	return err
}

// TestMoods: the platform hangs, fails and panics. Clients see just that, in time,
// and nothing any more once it has recovered.
func TestMoods(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	helper := serveHelper(t, socket, platformMoody, 2)

	client := &aesm.Client{Socket: socket}
	quote, err := newRequest(t.Context(), askQuotes, client)
	if err != nil {
		t.Fatal(err)
	}
	announced := &announcements{codes: []aesm.Code{aesm.CodeSuccess}}
	ask := func(ctx context.Context) error {
		since, start := announced.now(), time.Now()
		err := announced.check(since, quote(ctx))
		if took := time.Since(start); took > answerWithin {
			err = errors.Join(err, fmt.Errorf("an answer has taken %s", took))
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
			announced.add(p.code)
			helper.become(t, p.mood)
			time.Sleep(p.last)
			panics = helper.become(t, moodGood)
			announced.add(aesm.CodeSuccess)
			if err := quote(t.Context()); err != nil {
				t.Errorf("the first quote after the mood %s: %v", p.mood, err)
			}
			time.Sleep(200 * time.Millisecond) // a quiet time
		}
	}
	stop()
	r := <-asked
	if r.Failed > 0 || r.Succeeded() == 0 || r.LongestWait > answerWithin {
		t.Errorf("%d of %d quotes failed or were late, the last ones have waited for %s: %v", r.Failed, r.Requests, r.LongestWait, r.Failures)
	}

	m := helper.mustMetrics(t)
	if panics.Quote == 0 || m[metricPanics] != float64(panics.Quote) {
		t.Errorf("%v panics are counted of %d", m[metricPanics], panics.Quote)
	}
	const unexpected = `sgx_quote_helper_requests_total{code="UNEXPECTED",request="GetQuoteEx"}`
	if m[unexpected] != float64(announced.wrong) {
		t.Errorf("%v answers of UNEXPECTED are counted, clients got %d", m[unexpected], announced.wrong)
	}
	helper.terminate(t)
	t.Logf("%d quotes, answered within %s; %d panics", r.Requests, r.Latency.Max(), panics.Quote)
}

// TestPanicAtStart: a platform that panics as soon as it is checked is not the end
// of the helper, which has quotes once the platform has recovered.
func TestPanicAtStart(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "aesm.socket")
	helper := serveHelper(t, socket, platformMoody, 1, "--mood="+string(moodPanic))
	for start := time.Now(); helper.become(t, moodPanic).InitQuote == 0; {
		if time.Since(start) > patience {
			t.Fatal("the platform was not checked")
		}
		time.Sleep(10 * time.Millisecond)
	}
	helper.become(t, moodGood)
	quote, err := newRequest(t.Context(), askQuotes, &aesm.Client{Socket: socket})
	if err == nil {
		err = quote(t.Context())
	}
	if err != nil {
		t.Error(err)
	}
	helper.terminate(t)
}
