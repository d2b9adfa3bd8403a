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
		do   func(cancel context.CancelFunc) // with the context above
		want error
	}{
		{"at once", passes(0), nil},
		{"just before", passes(Deadline - 1), nil},
		{"at the end", passes(Deadline), context.DeadlineExceeded},
		{"long after it", passes(Deadline + time.Hour), context.DeadlineExceeded},
		{"the one above ends", func(cancel context.CancelFunc) { cancel() }, context.Canceled},
	} {
		for _, waited := range []bool{false, true} {
			name := tt.name
			if waited {
				name += ", and somebody waits"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					above, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
					defer cancel()
					made := time.Now()
					ctx, stop := withDeadline(above)
					defer stop()
					if at, ok := ctx.Deadline(); !ok || at.Sub(made) != Deadline {
						t.Errorf("its deadline: %s, %v", at.Sub(made), ok)
					}
					if ctx.Value(key{}) != "value" {
						t.Error("it has not the values of the one above")
					}
					if waited {
						ctx.Done()
					}
					tt.do(cancel)
					synctest.Wait()
					if err := ctx.Err(); err != tt.want {
						t.Errorf("Err: %v, want %v", err, tt.want)
					}
					if timed := ctx.(*deadline).timed != nil; timed != waited {
						t.Errorf("it has a timer: %v", timed)
					}
					select {
					case <-ctx.Done():
						if tt.want == nil {
							t.Error("it is done")
						}
					default:
						if tt.want != nil {
							t.Error("it is not done")
						}
					}
					if err := ctx.Err(); err != tt.want {
						t.Errorf("Err, asked again: %v, want %v", err, tt.want)
					}
				})
			})
		}
	}
}

// Whoever waits is told in the very moment.
func TestDeadlineContextWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := time.Now()
		ctx, stop := withDeadline(t.Context())
		defer stop()
		below, cancel := context.WithTimeout(ctx, time.Hour) // as a platform makes it
		defer cancel()
		time.Sleep(time.Second)
		<-below.Done()
		if d := time.Since(made); d != Deadline || !errors.Is(below.Err(), context.DeadlineExceeded) {
			t.Errorf("after %s: %v", d, below.Err())
		}
	})
}

// At the end of a request nobody waits for its deadline any more.
func TestDeadlineContextStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := withDeadline(t.Context())
		woken := make(chan error, 1)
		context.AfterFunc(ctx, func() { woken <- ctx.Err() })
		stop()
		synctest.Wait()
		if err := <-woken; !errors.Is(err, context.Canceled) {
			t.Errorf("ended by %v", err)
		}
		stop() // does no harm

		ctx, stop = withDeadline(t.Context())
		stop()
		if ctx.(*deadline).timed != nil {
			t.Error("the end has started a timer")
		}
		<-ctx.Done() // who waits only now is told at once
		if err := ctx.Err(); err != context.Canceled {
			t.Errorf("ended by %v", err)
		}
	})
}
