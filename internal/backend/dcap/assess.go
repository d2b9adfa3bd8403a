package dcap

import (
	"context"
	"errors"
	"slices"

	"github.com/confcom/confcom/internal/backend/dcap/link"
	"github.com/confcom/confcom/internal/backend/dcap/pool"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/sgx"
)

// Here it is decided what an error means: for the worker, whether it is killed, and for
// the request, whether another worker gets it.

const (
	// maxFailures is how many consecutive unclassified errors a worker may have
	// before it is killed.
	maxFailures = 3
	// maxCrashes is how many workers may die with a report before the request fails.
	//
	// A quote is idempotent, so the death of a worker costs no attempt. There are two
	// kinds of deaths:
	//
	//   - The worker died before it had read the request (link.ErrUnread): it was
	//     killed or was dying when the request arrived. The report has nothing to do
	//     with it, and the request waits for the next worker, until its deadline.
	//   - The worker had read the request (link.ErrNoReply). The report may be what
	//     kills it, in a bug of Intel's library, and would kill every worker that it
	//     meets. So this counts, apart from attempts: of many workers, a poisonous
	//     report kills three and not all. On a node with one worker it kills two, as
	//     the second must be waited for while nobody else is served.
	maxCrashes = 3
)

// attempts are what a request has been through.
type attempts struct {
	failed  int              // workers that have failed
	crashes int              // workers that have died with the request
	workers []pool.ID        // that are not asked again
	refused []sgx.TargetInfo // the targets that the report was not made for
	last    error
}

// accepts reports whether a worker may be asked: none twice and, if the report was
// refused, only those with another target. So a report that was made just before the
// quoting enclave was replaced is quoted.
func (a *attempts) accepts(c candidate) bool {
	if slices.Contains(a.workers, c.ID) || slices.Contains(a.refused, c.Generation) {
		return false
	}
	return !c.Draining || len(a.refused) > 0
}

// assess decides what an error means for the worker, and reports whether another
// worker should be asked.
func (b *Backend) assess(l *lease, tried *attempts, err error) (again bool) {
	if err == nil {
		l.Session().failures = 0
		return false
	}
	if code, ok := errors.AsType[quote3.Error](err); ok {
		tried.last = err
		return b.assessCode(l, tried, code)
	}
	switch {
	case errors.Is(err, link.ErrUnread):
		b.kill(l, reasonCrash)
		return true
	case errors.Is(err, link.ErrNoReply):
		b.kill(l, reasonCrash)
		tried.last = err
		tried.crashes++
		return tried.crashes < min(maxCrashes, b.config.Workers+1)
	case errors.Is(err, context.DeadlineExceeded):
		b.kill(l, reasonTimeout)
	default:
		b.kill(l, reasonErrors)
	}
	tried.last = err
	tried.failed++
	return true
}

// assessCode is assess for an error of the library.
func (b *Backend) assessCode(l *lease, tried *attempts, code quote3.Error) (again bool) {
	b.metrics.saw(code)
	tried.workers = append(tried.workers, l.ID())
	if code == quote3.InvalidReport {
		tried.refused = append(tried.refused, l.Generation())
		return true
	}
	tried.failed++
	switch code.Class() {
	case quote3.Broken:
		b.kill(l, reasonEnclaveLost)
	case quote3.Caller, quote3.Deployment:
		return false
	case quote3.Reinit:
		return code == quote3.AttKeyNotInitialized
	case quote3.Other:
		if l.Session().failures++; l.Session().failures >= maxFailures {
			b.kill(l, reasonErrors)
		}
	}
	return true
}

// kill takes a worker out of the pool and ends it.
func (b *Backend) kill(l *lease, why reason) {
	l.Discard()
	l.Session().process.killFor(why)
}
