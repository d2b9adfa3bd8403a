package loadgen

import "time"

// MaxFailures bounds the different errors that a Result tells apart.
const MaxFailures = 20

// OtherFailures stands in Result.Failures for the errors beyond MaxFailures.
const OtherFailures = "other errors"

// Result is what came of the requests.
type Result struct {
	// Requests were made and ended by themselves; Failed are those of them that
	// ended with an error.
	Requests, Failed uint64
	// Failures counts the failed by the text of their error, of which there are at
	// most MaxFailures, and OtherFailures.
	Failures map[string]uint64
	// Elapsed is the time from the start to the end of the last client.
	Elapsed time.Duration
	// Latency is that of the requests which succeeded.
	Latency Latency

	// Cancelled requests had no answer when the time was over: they are neither
	// among Requests nor among Failed. There is at most one for each client.
	Cancelled uint64
	// LongestWait is how long the one of them had waited that began first.
	LongestWait time.Duration
}

func newResult() Result {
	return Result{Failures: make(map[string]uint64), Latency: newLatency()}
}

// Succeeded is the number of requests without an error.
func (r Result) Succeeded() uint64 { return r.Requests - r.Failed }

// Rate is the number of requests that succeeded, for each second.
func (r Result) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Succeeded()) / r.Elapsed.Seconds()
}

// add counts one request.
func (r *Result) add(took time.Duration, err error, interrupted bool) {
	if interrupted {
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

// fail counts errors with this text. Memory stays bounded whatever they say.
func (r *Result) fail(text string, count uint64) {
	if _, known := r.Failures[text]; !known && len(r.Failures) >= MaxFailures {
		text = OtherFailures
	}
	r.Failures[text] += count
}

// merge adds all of another result but its time.
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
