package quoting

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadlineContext(t *testing.T) {
	type key struct{}
	passes := func(d time.Duration) func(context.CancelFunc) {
		return func(context.CancelFunc) { time.Sleep(d) }
	}
	for _, tt := range []struct {
		name string
		do   func(cancel context.CancelFunc) // cancel cancels the parent
		want error
	}{
		{"at the start", passes(0), nil},
		{"just before", passes(Deadline - 1), nil},
		{"at the deadline", passes(Deadline), context.DeadlineExceeded},
		{"long after the deadline", passes(Deadline + time.Hour), context.DeadlineExceeded},
		{"parent cancelled", func(cancel context.CancelFunc) { cancel() }, context.Canceled},
	} {
		for _, doneCalled := range []bool{false, true} {
			name := tt.name
			if doneCalled {
				name += ", Done called"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
					defer cancel()
					start := time.Now()
					ctx, end := withDeadline(parent)
					defer end()
					if at, ok := ctx.Deadline(); !ok || at.Sub(start) != Deadline {
						t.Errorf("Deadline: after %s, %v", at.Sub(start), ok)
					}
					if ctx.Value(key{}) != "value" {
						t.Error("values of the parent are missing")
					}
					if doneCalled {
						ctx.Done()
					}
					tt.do(cancel)
					synctest.Wait()
					if err := ctx.Err(); err != tt.want {
						t.Errorf("Err: %v, want %v", err, tt.want)
					}
					if timed := ctx.(*lazyDeadline).timed != nil; timed != doneCalled {
						t.Errorf("timer started: %v, want %v", timed, doneCalled)
					}
					select {
					case <-ctx.Done():
						if tt.want == nil {
							t.Error("done too early")
						}
					default:
						if tt.want != nil {
							t.Error("not done")
						}
					}
					if err := ctx.Err(); err != tt.want {
						t.Errorf("Err after Done: %v, want %v", err, tt.want)
					}
				})
			})
		}
	}
}

// A context derived from it ends exactly at the deadline.
func TestDeadlineOfDerivedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, end := withDeadline(t.Context())
		defer end()
		derived, cancel := context.WithTimeout(ctx, time.Hour) // as a backend does
		defer cancel()
		time.Sleep(time.Second)
		<-derived.Done()
		if d := time.Since(start); d != Deadline || !errors.Is(derived.Err(), context.DeadlineExceeded) {
			t.Errorf("after %s: %v", d, derived.Err())
		}
	})
}

// The end of a request ends its context.
func TestDeadlineEndOfRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := withDeadline(t.Context())
		woken := make(chan error, 1)
		context.AfterFunc(ctx, func() { woken <- ctx.Err() })
		end()
		synctest.Wait()
		if err := <-woken; !errors.Is(err, context.Canceled) {
			t.Errorf("Err: %v", err)
		}
		end() // a second call does no harm

		ctx, end = withDeadline(t.Context())
		end()
		if ctx.(*lazyDeadline).timed != nil {
			t.Error("the end of the request started a timer")
		}
		<-ctx.Done() // closed, although Done is only called now
		if err := ctx.Err(); err != context.Canceled {
			t.Errorf("Err: %v", err)
		}
	})
}
