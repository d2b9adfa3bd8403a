// Package dcap is SGX hardware as a platform: Intel's DCAP quoting library makes
// the quotes, in worker processes that this package starts, watches and replaces.
//
// The library works on one request at a time, waits for the network without end,
// never recovers from a lost enclave, and can take its process with it. But its
// attestation key is a function of the node, so that several processes are one
// quoting enclave to the outside. A request goes to a worker that is free. If that
// one fails, hangs or dies, another one gets the request, and the worker is
// replaced where it has to be. The length of quotes and the target of reports come
// from memory.
//
// When a file of the library changes, the workers are replaced one after the
// other, each by one that has proved itself before it takes its place.
package dcap

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/ql/quote3"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/sgx"
)

var _ quoting.Backend = (*Backend)(nil)

// Options say which workers there are.
type Options struct {
	// Workers is how many; each has quoting enclaves of its own, and so EPC. While
	// one is replaced there is one more.
	Workers int
	// Program is the path of sgx-quote-worker, and Args are its flags: the paths of
	// the libraries.
	Program string
	Args    []string
	// Env is added to this process's environment for the workers.
	Env []string
	// Configuration is the path of the provider's configuration: when it changes,
	// the workers are replaced.
	Configuration string
	// Certificates is the directory where the workers keep the platform's
	// certificates, for the metrics.
	Certificates string
	// Timeout is how long a worker may take for a request before it is killed, and
	// another one asked.
	Timeout time.Duration
	// MemoryLimit is how much memory a worker may have resident, in bytes, before
	// it is replaced; 0 is no limit. EPC does not count.
	MemoryLimit uint64
	Log         *slog.Logger
	// Metrics is where the platform's metrics are registered; nil for nowhere.
	Metrics prometheus.Registerer
}

// Backend is a pool of workers. The errors of its methods are a
// *quoting.Failure. It is safe for concurrent use.
type Backend struct {
	Options
	pool    *pool
	metrics *metrics
	// renewing is held by the slot that replaces a worker which still works, so that
	// there is one worker too many at most.
	renewing chan struct{}

	mu    sync.Mutex
	ready aesm.Initialized // of the newest worker
	sizes map[int]int      // how long the quotes of each slot's worker are, in bytes

	stop  context.CancelFunc
	slots sync.WaitGroup
}

// identity is what a quoting enclave tells of itself. It is the same in all
// workers, but while their files are being replaced.
type identity struct {
	ready aesm.Initialized
	size  int // of quotes, in bytes
}

// Start starts the workers, and returns before they have.
func Start(o Options) *Backend {
	p := &Backend{
		Options:  o,
		pool:     newPool(o.Workers),
		sizes:    make(map[int]int),
		renewing: make(chan struct{}, 1),
	}
	p.metrics = newMetrics(o.Metrics, p.pool, o.Certificates)
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	for number := range o.Workers {
		s := &slot{Backend: p, number: number, log: o.Log.With("worker", number)}
		p.slots.Go(func() { s.run(ctx) })
	}
	return p
}

// Close ends all workers. Requests that they have are lost.
func (p *Backend) Close() {
	p.stop()
	p.slots.Wait()
}

// InitQuote returns the target of reports and the ID of the key, which every
// worker has made ready before it is here. It waits only if there is none.
func (p *Backend) InitQuote(ctx context.Context) (aesm.Initialized, error) {
	if err := p.someWorker(ctx); err != nil {
		return aesm.Initialized{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready, nil
}

// QuoteSize returns the length in bytes that is enough for the next quote, whoever
// makes it: while certificates change, workers may have those of before. It waits
// only if there is no worker.
func (p *Backend) QuoteSize(ctx context.Context) (int, error) {
	if err := p.someWorker(ctx); err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	most := 0
	for _, size := range p.sizes {
		most = max(most, size)
	}
	return most, nil
}

// someWorker waits until there is a worker.
func (p *Backend) someWorker(ctx context.Context) error {
	if p.pool.size() > 0 {
		return nil
	}
	w, err := p.pool.take(ctx, func(*worker) bool { return true })
	if err != nil {
		return p.failure(ctx, err)
	}
	p.release(w)
	return nil
}

// learn takes note of what a worker tells.
func (p *Backend) learn(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = w.ready
	p.sizes[w.number] = w.size
}

// Quote has a worker sign report. As long as there is time, it asks as many
// workers one after the other as there are.
func (p *Backend) Quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	var tried attempts
	for {
		w, err := p.pool.take(ctx, tried.accepts)
		if err != nil {
			return aesm.Quoted{}, p.failure(ctx, cmp.Or(tried.last, err))
		}
		quoted, err := p.quote(ctx, w, report, challenge)
		if err != nil && ctx.Err() != nil && !w.overdue() {
			p.prove(w)
			return aesm.Quoted{}, p.failure(ctx, err)
		}
		again := p.judge(w, &tried, err)
		p.release(w)
		if err == nil {
			return quoted, nil
		}
		if !again || tried.n >= p.Workers || ctx.Err() != nil {
			return aesm.Quoted{}, p.failure(ctx, err)
		}
		p.metrics.retries.Inc()
	}
}

// prove finds out whether a worker is well that still works for somebody who has
// no more time to wait for it, before it is given back.
func (p *Backend) prove(w *worker) {
	p.slots.Go(func() {
		if err := p.refresh(context.Background(), w); err != nil {
			p.judge(w, new(attempts), err)
		}
		p.release(w)
	})
}

// quote asks one worker, and again after it has made its key ready anew if that
// is what it lacks.
func (p *Backend) quote(ctx context.Context, w *worker, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	quoted, err := p.quoteOnce(ctx, w, report, challenge)
	if code, ok := errors.AsType[quote3.Error](err); ok && code.Class() == quote3.Reinit {
		p.metrics.saw(code)
		if err := p.refresh(ctx, w); err != nil {
			return quoted, err
		}
		quoted, err = p.quoteOnce(ctx, w, report, challenge)
	}
	return quoted, err
}

// quoteOnce asks one worker, with room for a longer quote than was expected if
// that is what it takes.
func (p *Backend) quoteOnce(ctx context.Context, w *worker, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	size := w.size
	quoted, err := w.quote(ctx, report, size, challenge)
	if errors.Is(err, aesm.CodeParameter) {
		// The worker has found out already how long they are now.
		if w.size, err = w.askSize(ctx); err == nil && w.size > size {
			quoted, err = w.quote(ctx, report, w.size, challenge)
		}
	}
	if err == nil && len(quoted.Quote) != size {
		w.size = len(quoted.Quote)
		p.relearn(w)
	}
	return quoted, err
}

// refresh has a worker make its key ready anew. It may have another target or
// another length afterwards.
func (p *Backend) refresh(ctx context.Context, w *worker) error {
	id, err := w.initialize(ctx)
	if err != nil {
		return err
	}
	w.identity = id
	p.relearn(w)
	return nil
}

// relearn is learn, unless the worker was replaced meanwhile.
func (p *Backend) relearn(w *worker) {
	if !w.elder.Load() && p.pool.has(w) {
		p.learn(w)
	}
}

// release gives a worker back. One that was retired meanwhile ends.
func (p *Backend) release(w *worker) {
	if !p.pool.give(w) {
		w.finish()
	}
}

// attempts are the workers that were asked for one quote.
type attempts struct {
	n       int // how many have failed
	workers []*worker
	refused []sgx.TargetInfo // the targets that the report was not made for
	last    error
}

// accepts tells whether a worker may still be asked: not one twice, and if it is
// the report that was refused, only those with another target. So a report is
// quoted that was made just before the quoting enclave was replaced.
func (a *attempts) accepts(w *worker) bool {
	if slices.Contains(a.workers, w) || slices.Contains(a.refused, w.target) {
		return false
	}
	return !w.elder.Load() || len(a.refused) > 0
}

// strikes is how many errors in a row a worker may have of which nothing is known
// before it is replaced.
const strikes = 3

// judge decides what an error means for the worker, and tells whether another
// worker is to be asked.
func (p *Backend) judge(w *worker, tried *attempts, err error) (again bool) {
	if err == nil {
		w.strikes = 0
		return false
	}
	tried.last = err
	code, ok := errors.AsType[quote3.Error](err)
	if !ok {
		if !unasked(err) {
			tried.n++
		}
		p.condemn(w, w.why(err))
		return true
	}
	p.metrics.saw(code)
	tried.workers = append(tried.workers, w)
	if code == quote3.InvalidReport {
		tried.refused = append(tried.refused, w.target)
		return true
	}
	tried.n++
	switch code.Class() {
	case quote3.Broken:
		p.condemn(w, endBroken)
	case quote3.Caller, quote3.Deployment:
		return false
	case quote3.Reinit:
		return code == quote3.AttKeyNotInitialized
	case quote3.Other:
		if w.strikes++; w.strikes >= strikes {
			p.condemn(w, endErrors)
		}
	}
	return true
}

// condemn ends a worker, which nobody gets any more.
func (p *Backend) condemn(w *worker, why end) {
	p.pool.remove(w)
	w.kill(why)
}
