package loadgen

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Times are kept to 1% or half a microsecond, whichever is more, in 26 KiB however
// many they are. Those beyond 10 minutes count as 10 minutes, but for the maximum.
const (
	finest  = time.Microsecond
	longest = 10 * time.Minute
	digits  = 2
)

// Latency is how the times that requests took are distributed. The zero Latency
// has none.
type Latency struct {
	histogram *hdrhistogram.Histogram
	min, max  time.Duration
}

func newLatency() Latency {
	return Latency{histogram: hdrhistogram.New(int64(finest), int64(longest), digits)}
}

// Min is the shortest time, exactly; 0 where there is none.
func (l Latency) Min() time.Duration { return l.min }

// Max is the longest time, exactly; 0 where there is none.
func (l Latency) Max() time.Duration { return l.max }

// Mean is the average time; 0 where there is none.
func (l Latency) Mean() time.Duration {
	if l.histogram == nil {
		return 0
	}
	return l.within(time.Duration(l.histogram.Mean()))
}

// Quantile is the time in which the part q of the requests were answered: 0.5
// is the median, 0.99 the time that one of a hundred took longer than.
func (l Latency) Quantile(q float64) time.Duration {
	if l.histogram == nil {
		return 0
	}
	return l.within(time.Duration(l.histogram.ValueAtQuantile(100 * q)))
}

// within corrects a time that was rounded beyond the shortest or longest one.
func (l Latency) within(t time.Duration) time.Duration { return min(max(t, l.min), l.max) }

// A Bucket is the number of requests that took more than From and at most To.
type Bucket struct {
	From, To time.Duration
	Count    uint64
}

// Buckets parts the requests by limits that are round numbers, so fine that there
// are at most this many buckets where that is possible. They follow each other
// from the shortest to the longest time, empty ones among them.
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

// limits are the round numbers from the last one below the shortest time to the
// first one that is not below the longest. In each decade they are tenths of its
// start.
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
	_ = l.histogram.RecordValue(int64(min(t, longest))) // it takes all up to the longest
}

func (l *Latency) merge(other Latency) {
	if other.histogram.TotalCount() == 0 {
		return
	}
	if l.histogram.TotalCount() == 0 || other.min < l.min {
		l.min = other.min
	}
	l.max = max(l.max, other.max)
	l.histogram.Merge(other.histogram) // drops nothing: both have the same range
}
