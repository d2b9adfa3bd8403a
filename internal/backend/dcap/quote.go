package dcap

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/link"
	"github.com/confcom/confcom/internal/backend/dcap/pool"
	"github.com/confcom/confcom/internal/backend/dcap/ql/quote3"
	"github.com/confcom/confcom/sgx"
)

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
	//     meets. So this counts, apart from attempts and whatever the number of
	//     workers: a node with one worker gets past two coincidences, and on a node with
	//     many a poisonous report kills three workers and not all of them.
	maxCrashes = 3
)

// Quote has a worker sign report. While there is time, as many workers may fail at
// it as there are.
func (b *Backend) Quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	var tried attempts
	for {
		l, err := b.pool.Take(ctx, tried.accepts)
		if err != nil {
			return aesm.Quoted{}, b.failure(ctx, cmp.Or(tried.last, err))
		}
		quoted, err := b.quote(ctx, l, report, challenge)
		if err != nil && ctx.Err() != nil && !l.Session().isOverdue() {
			b.prove(l)
			return aesm.Quoted{}, b.failure(ctx, err)
		}
		again := b.assess(l, &tried, err)
		l.Return()
		if err == nil {
			return quoted, nil
		}
		if !again || tried.failed >= b.config.Workers || ctx.Err() != nil {
			return aesm.Quoted{}, b.failure(ctx, err)
		}
		b.metrics.retried()
	}
}

// quote asks one worker, and again after it has initialized its key if that is what
// it lacks.
func (b *Backend) quote(ctx context.Context, l *lease, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	quoted, err := l.Session().quote(ctx, report, challenge)
	if code, ok := errors.AsType[quote3.Error](err); ok && code.Class() == quote3.Reinit {
		b.metrics.saw(code)
		if err := b.refresh(ctx, l); err != nil {
			return aesm.Quoted{}, err
		}
		quoted, err = l.Session().quote(ctx, report, challenge)
	}
	if size := len(quoted.Quote); err == nil && size != l.Session().identity.QuoteSize {
		l.Session().identity.QuoteSize = size // its certificates have changed
		b.relearn(l)
	}
	return quoted, err
}

// refresh has a worker initialize its key again.
func (b *Backend) refresh(ctx context.Context, l *lease) error {
	if err := l.Session().initialize(ctx); err != nil {
		return err
	}
	b.relearn(l)
	return nil
}

// relearn remembers the identity of a worker, unless it was replaced meanwhile.
func (b *Backend) relearn(l *lease) {
	if l.IsCurrent() {
		b.learn(l.Session().place, l.Session().identity)
	}
}

// prove returns a worker that is still busy with a request that was given up, once
// it has shown that it works.
func (b *Backend) prove(l *lease) {
	b.proving.Go(func() {
		defer l.Return()
		if err := b.refresh(context.Background(), l); err != nil { // which ends with the timeout of a request
			b.assess(l, new(attempts), err)
		}
	})
}

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
		return tried.crashes < maxCrashes
	case errors.Is(err, context.DeadlineExceeded):
		b.kill(l, reasonHang)
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
		b.kill(l, reasonBroken)
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
