package loadgen

import "time"

// maxFailures is how many different errors a Result counts separately.
const maxFailures = 20

// OtherFailures is the key in Result.Failures of all errors beyond maxFailures.
const OtherFailures = "other errors"

// Result is the result of a load.
type Result struct {
	// Requests counts the requests that completed, and Failed those among them that
	// returned an error.
	Requests, Failed uint64
	// Failures counts the failed requests by the text of their error. It has at most
	// maxFailures texts, and OtherFailures.
	Failures map[string]uint64
	// Elapsed is the time from the start until the last client stopped.
	Elapsed time.Duration
	// Latency is that of the requests that succeeded.
	Latency Latency

	// Cancelled counts the requests that were in flight at the end, at most one for each
	// client. They are neither among Requests nor among Failed.
	Cancelled uint64
	// LongestWait is how long the earliest of them had been waiting.
	LongestWait time.Duration
}

func newResult() Result {
	return Result{Failures: make(map[string]uint64), Latency: newLatency()}
}

// Succeeded returns the number of requests without an error.
func (r Result) Succeeded() uint64 { return r.Requests - r.Failed }

// Rate returns the number of requests per second that succeeded.
func (r Result) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Succeeded()) / r.Elapsed.Seconds()
}

// add counts one request.
func (r *Result) add(took time.Duration, err error, cancelled bool) {
	if cancelled {
		r.Cancelled++
		r.LongestWait = max(r.LongestWait, took)
		return
	}
	r.Requests++
	if err == nil {
		r.Latency.add(took)
		return
	}
	r.Failed++
	r.fail(err.Error(), 1)
}

// fail counts errors with this text. The number of texts stays bounded.
func (r *Result) fail(text string, count uint64) {
	if _, known := r.Failures[text]; !known && len(r.Failures) >= maxFailures {
		text = OtherFailures
	}
	r.Failures[text] += count
}

// merge adds another result, except for Elapsed.
func (r *Result) merge(other Result) {
	r.Requests += other.Requests
	r.Failed += other.Failed
	r.Cancelled += other.Cancelled
	r.LongestWait = max(r.LongestWait, other.LongestWait)
	r.Latency.merge(other.Latency)
	for text, count := range other.Failures {
		r.fail(text, count)
	}
}
