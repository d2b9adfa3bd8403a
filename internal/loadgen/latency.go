package loadgen

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Times are recorded within 1% or half a microsecond, whichever is larger, in 26 KiB for
// any number of them. Those beyond 10 minutes count as 10 minutes, except for Max.
const (
	finest  = time.Microsecond
	longest = 10 * time.Minute
	digits  = 2
)

// Latency is the distribution of the times that requests took. The zero Latency has no
// times.
type Latency struct {
	histogram *hdrhistogram.Histogram
	min, max  time.Duration
}

func newLatency() Latency {
	return Latency{histogram: hdrhistogram.New(int64(finest), int64(longest), digits)}
}

// Min returns the shortest time, which is exact, or 0 without times.
func (l Latency) Min() time.Duration { return l.min }

// Max returns the longest time, which is exact, or 0 without times.
func (l Latency) Max() time.Duration { return l.max }

// Mean returns the average time, or 0 without times.
func (l Latency) Mean() time.Duration {
	if l.histogram == nil {
		return 0
	}
	return l.within(time.Duration(l.histogram.Mean()))
}

// Quantile returns the time within which the fraction q of the requests were answered:
// 0.5 is the median, and one request in a hundred takes longer than 0.99. It returns 0
// without times.
func (l Latency) Quantile(q float64) time.Duration {
	if l.histogram == nil {
		return 0
	}
	return l.within(time.Duration(l.histogram.ValueAtQuantile(100 * q)))
}

// within limits a rounded time to the range of exact times.
func (l Latency) within(t time.Duration) time.Duration { return min(max(t, l.min), l.max) }

// A Bucket is the number of requests that took more than From and at most To.
type Bucket struct {
	From, To time.Duration
	Count    uint64
}

// Buckets divides the requests into buckets whose limits are round numbers. It returns
// the finest division into at most this many buckets, or the coarsest one if all have
// more. Buckets are consecutive, from the shortest to the longest time; some may be empty.
func (l Latency) Buckets(most int) []Bucket {
	if l.histogram == nil || l.histogram.TotalCount() == 0 {
		return nil
	}
	var limits []time.Duration
	for _, tenths := range [][]time.Duration{ // the finest first
		{10, 12, 15, 20, 25, 30, 40, 50, 60, 80},
		{10, 15, 25, 40, 60},
		{10, 20, 50},
		{10},
	} {
		if limits = l.limits(tenths); len(limits)-1 <= most {
			break
		}
	}
	buckets := make([]Bucket, len(limits)-1)
	for i := range buckets {
		buckets[i] = Bucket{From: limits[i], To: limits[i+1]}
	}
	at := 0
	for _, bar := range l.histogram.Distribution() {
		if bar.Count == 0 {
			continue
		}
		for t := l.within(time.Duration(bar.To)); t > buckets[at].To; {
			at++
		}
		buckets[at].Count += uint64(bar.Count)
	}
	return buckets
}

// limits returns the round numbers from the last one below the shortest time to the
// first one that is not below the longest. Tenths are the round numbers of each decade,
// in tenths of its start.
func (l Latency) limits(tenths []time.Duration) []time.Duration {
	limits := []time.Duration{0}
	for decade := finest; ; decade *= 10 {
		for _, n := range tenths {
			limit := decade * n / 10
			if limit < l.min {
				limits[0] = limit
				continue
			}
			limits = append(limits, limit)
			if limit >= l.max {
				return limits
			}
		}
	}
}

func (l *Latency) add(t time.Duration) {
	if l.histogram.TotalCount() == 0 || t < l.min {
		l.min = t
	}
	l.max = max(l.max, t)
	_ = l.histogram.RecordValue(int64(min(t, longest))) // values up to longest are in its range
}

func (l *Latency) merge(other Latency) {
	if other.histogram.TotalCount() == 0 {
		return
	}
	if l.histogram.TotalCount() == 0 || other.min < l.min {
		l.min = other.min
	}
	l.max = max(l.max, other.max)
	l.histogram.Merge(other.histogram) // nothing is dropped: both have the same range
}
