package quotehelper

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/quoting"
)

// A backend is checked every 10 seconds while it works, and every second while it
// fails. Only changes are logged.
func TestChecks(t *testing.T) {
	failure := errors.New("not today")
	const (
		unavailable = "level=WARN msg=\"quotes unavailable\" error=\"backend: not today\" advice=\"\"\n"
		available   = "level=INFO msg=\"quotes available again\"\n"
		timeout     = "level=WARN msg=\"quotes unavailable\" error=\"backend: no answer from the quote backend within 10s: context deadline exceeded\" advice=\"the quote backend hangs or is overloaded: check the processes and services that it depends on\"\n"
	)
	for _, tt := range []struct {
		name  string
		errs  []error
		takes time.Duration
		times []int // of the checks, in seconds
		log   string
		ready bool // a check has succeeded
	}{
		{"works", []error{nil}, 0, []int{0, 10, 20, 30}, "", true},
		{"fails", []error{failure}, 0, []int{0, 1, 2, 3}, unavailable, false},
		{"recovers", []error{failure, failure, nil}, 0, []int{0, 1, 2, 12}, unavailable + available, true},
		{"begins to fail", []error{nil, failure}, 0, []int{0, 10, 11, 12}, unavailable, true},
		{"fails now and then", []error{nil, failure, nil, failure}, 0, []int{0, 10, 11, 21, 22}, unavailable + available + unavailable, true},
		{"slow", []error{nil}, 9 * time.Second, []int{0, 19, 38}, "", true},
		{"hangs", []error{nil}, time.Hour, []int{0, 11, 22}, timeout, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := &script{Backend: newBackend(t, "node"), start: time.Now(), takes: tt.takes, errs: tt.errs}
				var log strings.Builder
				c := newChecker(quoting.NewService(backend, 1, nil),
					slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: withoutTime})),
					new(daemon.Health).Condition("quotes"))
				ctx, stop := context.WithCancel(t.Context())
				var checks sync.WaitGroup
				checks.Go(func() { c.run(ctx) })
				time.Sleep(time.Duration(tt.times[len(tt.times)-1]) * time.Second)
				synctest.Wait()
				stop()
				checks.Wait()

				if !slices.Equal(backend.times, tt.times) {
					t.Errorf("checked at %d seconds, want %d", backend.times, tt.times)
				}
				if log.String() != tt.log {
					t.Errorf("log:\n%swant:\n%s", &log, tt.log)
				}
				ready := false
				select {
				case <-c.ready:
					ready = true
				default:
				}
				if ready != tt.ready {
					t.Errorf("ready: %t, want %t", ready, tt.ready)
				}
			})
		})
	}
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// The condition has what to do about the error of a check.
func TestAdvice(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"of the failure", &quoting.Failure{Code: aesm.CodeNetwork, Err: errors.New("x"), Advice: "ask the PCCS"}, "ask the PCCS"},
		{"of the code", &quoting.Failure{Code: aesm.CodeNetwork, Err: errors.New("x")}, aesm.CodeNetwork.OperatorAdvice()},
		{"to read the log itself", &quoting.Failure{Code: aesm.CodeUnexpected, Err: errors.New("x")}, ""},
		{"none", errors.New("x"), ""},
	} {
		advised, ok := errors.AsType[interface {
			error
			Advice() string
		}](advised(tt.err))
		if !ok || advised.Advice() != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, advised, tt.want)
		}
	}
}
