package loadgen

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The quantiles of merged parts are those of all times.
func TestLatency(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	parts := []Latency{newLatency(), newLatency(), newLatency()}
	times := make([]time.Duration, 10000)
	var total time.Duration
	for i := range times {
		times[i] = time.Duration(float64(10*time.Microsecond) * math.Pow(10, 6*random.Float64())) // to 10 s
		total += times[i]
		parts[i%2].add(times[i]) // the last one stays empty
	}
	all := newLatency()
	for _, part := range parts {
		all.merge(part)
	}
	slices.Sort(times)
	close := func(what string, got, want time.Duration) {
		if math.Abs(float64(got-want)) > float64(want)/100+float64(finest)/2 {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	close("mean", all.Mean(), total/time.Duration(len(times)))
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999} {
		close("quantile", all.Quantile(q), times[int(q*float64(len(times)))-1])
	}
	for _, c := range []struct{ got, want time.Duration }{
		{all.Min(), times[0]}, {all.Quantile(0), times[0]},
		{all.Max(), times[len(times)-1]}, {all.Quantile(1), times[len(times)-1]},
	} {
		if c.got != c.want {
			t.Errorf("%s, want exactly %s", c.got, c.want)
		}
	}
	if size := all.histogram.ByteSize(); size > 26<<10 {
		t.Errorf("%d bytes", size)
	}
}

func TestLatencyTooLong(t *testing.T) {
	l := newLatency()
	l.add(time.Second)
	l.add(24 * time.Hour)
	if l.histogram.TotalCount() != 2 || l.Max() != 24*time.Hour || l.Quantile(0.9) < longest {
		t.Errorf("%d times, max %s, p90 %s", l.histogram.TotalCount(), l.Max(), l.Quantile(0.9))
	}
}

func TestBuckets(t *testing.T) {
	const us, ms = time.Microsecond, time.Millisecond
	for name, c := range map[string]struct {
		times []time.Duration
		most  int
		want  []Bucket
	}{
		"one time":       {[]time.Duration{1800 * us}, 10, []Bucket{{1500 * us, 2 * ms, 1}}},
		"a limit itself": {[]time.Duration{2 * ms}, 10, []Bucket{{1500 * us, 2 * ms, 1}}},
		"none":           {[]time.Duration{0, 0}, 10, []Bucket{{0, us, 2}}},
		"an empty one":   {[]time.Duration{1100 * us, 1900 * us}, 10, []Bucket{{ms, 1200 * us, 1}, {1200 * us, 1500 * us, 0}, {1500 * us, 2 * ms, 1}}},
		"coarser":        {[]time.Duration{1100 * us, 1900 * us, 9 * ms}, 3, []Bucket{{ms, 2 * ms, 2}, {2 * ms, 5 * ms, 0}, {5 * ms, 10 * ms, 1}}},
		"coarsest":       {[]time.Duration{9 * us, 11 * us, 9 * ms}, 1, []Bucket{{us, 10 * us, 1}, {10 * us, 100 * us, 1}, {100 * us, ms, 0}, {ms, 10 * ms, 1}}},
		"beyond":         {[]time.Duration{24 * time.Hour}, 10, []Bucket{{80000 * time.Second, 100000 * time.Second, 1}}},
	} {
		l := newLatency()
		for _, t := range c.times {
			l.add(t)
		}
		if diff := cmp.Diff(c.want, l.Buckets(c.most)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}
