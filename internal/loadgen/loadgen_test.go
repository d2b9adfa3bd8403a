package loadgen

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// after returns a request that takes this long.
func after(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func Example() {
	result := Run(context.Background(), Options{
		Clients:  4,
		Requests: 100,
		Do:       func(context.Context) error { return nil }, // or Quotes, Sizes, Keys, Inits
	}, nil)
	fmt.Println(result.Requests, "requests,", result.Failed, "failed")
	// Output: 100 requests, 0 failed
}

func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, now, most atomic.Int64
		r := Run(t.Context(), Options{Clients: 3, Requests: 100, Do: func(ctx context.Context) error {
			n := calls.Add(1)
			for here, m := now.Add(1), most.Load(); here > m && !most.CompareAndSwap(m, here); m = most.Load() {
			}
			defer now.Add(-1)
			time.Sleep(time.Millisecond)
			if n%10 == 0 {
				return errors.New("every tenth")
			}
			return nil
		}}, nil)
		if calls.Load() != 100 || most.Load() != 3 {
			t.Errorf("%d calls, %d at once, not 100 and 3", calls.Load(), most.Load())
		}
		want := Result{Requests: 100, Failed: 10, Failures: map[string]uint64{"every tenth": 10}, Elapsed: 34 * time.Millisecond}
		if diff := cmp.Diff(want, r, cmp.FilterPath(isLatency, cmp.Ignore())); diff != "" {
			t.Error(diff)
		}
		if got := r.Latency.histogram.TotalCount(); got != 90 {
			t.Errorf("the latency is that of %d requests, not of the 90 that succeeded", got)
		}
		if got, want := r.Rate(), 90/0.034; got != want {
			t.Errorf("rate %v, not %v", got, want)
		}
	})
}

func isLatency(p cmp.Path) bool { return p.String() == "Latency" }

// When the time is over, requests in flight are cancelled and counted as such only.
func TestTime(t *testing.T) {
	const long = 3505 * time.Millisecond
	for name, run := range map[string]func(context.Context, Options, func(Result)) Result{
		"duration": func(ctx context.Context, o Options, progress func(Result)) Result {
			o.Duration = long
			return Run(ctx, o, progress)
		},
		"deadline": func(ctx context.Context, o Options, progress func(Result)) Result {
			ctx, cancel := context.WithTimeout(ctx, long)
			defer cancel()
			return Run(ctx, o, progress)
		},
		"cancel": func(ctx context.Context, o Options, progress func(Result)) Result {
			ctx, cancel := context.WithCancel(ctx)
			defer time.AfterFunc(long, cancel).Stop()
			return Run(ctx, o, progress)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen []uint64
				r := run(t.Context(), Options{Clients: 2, Do: after(10 * time.Millisecond)}, func(r Result) {
					seen = append(seen, (r.Requests+5)/10*10) // rounded: the clients go on meanwhile
				})
				want := Result{
					Requests:    700,
					Failures:    map[string]uint64{},
					Elapsed:     long,
					Cancelled:   2,
					LongestWait: 5 * time.Millisecond,
				}
				if diff := cmp.Diff(want, r, cmp.FilterPath(isLatency, cmp.Ignore())); diff != "" {
					t.Error(diff)
				}
				if l := r.Latency; l.Min() != 10*time.Millisecond || l.Max() != l.Min() || l.Mean() != l.Min() || l.Quantile(0.5) != l.Min() {
					t.Errorf("min %s, max %s, mean %s, median %s", l.Min(), l.Max(), l.Mean(), l.Quantile(0.5))
				}
				if want := []uint64{200, 400, 600}; !cmp.Equal(seen, want) {
					t.Errorf("progress after each second: %d requests, not %d", seen, want)
				}
			})
		})
	}
}

// A request with the same deadline as its context may fail before the context is done.
func TestOver(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		want bool
	}{
		"running":             {t.Context(), false},
		"ended":               {ended, true},
		"deadline has passed": {deadline{t.Context(), time.Now()}, true},
		"deadline to come":    {deadline{t.Context(), time.Now().Add(time.Hour)}, false},
	} {
		if got := over(c.ctx); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// deadline is a context whose timer is late.
type deadline struct {
	context.Context
	at time.Time
}

func (d deadline) Deadline() (time.Time, bool) { return d.at, true }

// Errors with different texts take no more memory than others.
func TestFailures(t *testing.T) {
	var n atomic.Int64
	r := Run(t.Context(), Options{Clients: 4, Requests: 1000, Do: func(context.Context) error {
		return fmt.Errorf("error %d", n.Add(1))
	}}, nil)
	var count uint64
	for _, c := range r.Failures {
		count += c
	}
	if r.Failed != 1000 || count != 1000 || len(r.Failures) > maxFailures+1 || r.Failures[OtherFailures] == 0 {
		t.Errorf("%d failed: %d of %d texts, %d others", r.Failed, count, len(r.Failures), r.Failures[OtherFailures])
	}
	if r.Rate() != 0 || r.Latency.Max() != 0 {
		t.Errorf("rate %v, latency %s, though nothing succeeded", r.Rate(), r.Latency.Max())
	}
}

func TestNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, r := range map[string]Result{"zero": {}, "ended before": Run(ctx, Options{Do: after(0)}, nil)} {
		l := r.Latency
		if r.Requests != 0 || r.Rate() != 0 || l.Min() != 0 || l.Max() != 0 || l.Mean() != 0 || l.Quantile(0.5) != 0 || l.Buckets(10) != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// Counting a request must not disturb the measurement.
func TestAllocations(t *testing.T) {
	r, err := newResult(), errors.New("as before")
	r.add(time.Millisecond, err, false)
	if n := testing.AllocsPerRun(100, func() {
		r.add(time.Millisecond, nil, false)
		r.add(time.Millisecond, err, false)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
