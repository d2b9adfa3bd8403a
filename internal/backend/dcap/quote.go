package dcap

import (
	"cmp"
	"context"
	"errors"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/sgx"
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
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		l.Return()
		return
	}
	b.proving.Go(func() {
		defer l.Return()
		if err := b.refresh(context.Background(), l); err != nil { // which ends with the timeout of a request
			b.assess(l, new(attempts), err)
		}
	})
}
