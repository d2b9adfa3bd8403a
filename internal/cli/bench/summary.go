package bench

import (
	"cmp"
	"maps"
	"slices"

	"github.com/confcom/confcom/internal/loadgen"
)

// report is a result as JSON. Times are in seconds.
type report struct {
	Request       requestKind `json:"request"`
	Clients       int         `json:"clients"`
	Elapsed       float64     `json:"elapsedSeconds"`
	Requests      uint64      `json:"requests"`
	Failed        uint64      `json:"failed"`
	Failures      []failure   `json:"failures"`
	Cancelled     uint64      `json:"cancelled"`
	LongestWait   float64     `json:"cancelledLongestWaitSeconds"`
	RatePerSecond float64     `json:"ratePerSecond"`
	Latency       *latency    `json:"latencySeconds"` // null if no request succeeded
	Buckets       []bucket    `json:"latencyBuckets"`
}

type failure struct {
	Error string `json:"error"`
	Count uint64 `json:"count"`
}

type latency struct {
	Min    float64 `json:"min"`
	Mean   float64 `json:"mean"`
	Median float64 `json:"median"`
	P90    float64 `json:"p90"`
	P99    float64 `json:"p99"`
	P999   float64 `json:"p999"`
	Max    float64 `json:"max"`
}

type bucket struct {
	From  float64 `json:"fromSeconds"`
	To    float64 `json:"toSeconds"`
	Count uint64  `json:"count"`
}

func newReport(b benchmark, r loadgen.Result) report {
	report := report{
		Request:       b.request,
		Clients:       b.clients,
		Elapsed:       r.Elapsed.Seconds(),
		Requests:      r.Requests,
		Failed:        r.Failed,
		Failures:      failures(r),
		Cancelled:     r.Cancelled,
		LongestWait:   r.LongestWait.Seconds(),
		RatePerSecond: r.Rate(),
		Buckets:       []bucket{}, // an empty list rather than null
	}
	if r.Succeeded() > 0 {
		quantile := func(q float64) float64 { return r.Latency.Quantile(q).Seconds() }
		report.Latency = &latency{
			Min:    r.Latency.Min().Seconds(),
			Mean:   r.Latency.Mean().Seconds(),
			Median: quantile(0.5),
			P90:    quantile(0.9),
			P99:    quantile(0.99),
			P999:   quantile(0.999),
			Max:    r.Latency.Max().Seconds(),
		}
	}
	for _, b := range r.Latency.Buckets(16) {
		report.Buckets = append(report.Buckets, bucket{b.From.Seconds(), b.To.Seconds(), b.Count})
	}
	return report
}

// failures returns the errors, the most frequent first.
func failures(r loadgen.Result) []failure {
	list := make([]failure, 0, len(r.Failures))
	for _, text := range slices.Sorted(maps.Keys(r.Failures)) {
		list = append(list, failure{text, r.Failures[text]})
	}
	slices.SortStableFunc(list, func(a, b failure) int { return cmp.Compare(b.Count, a.Count) })
	return list
}
