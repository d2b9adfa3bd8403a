// Package dcap is the quote backend for SGX hardware: Intel's DCAP quoting library
// makes the quotes, in worker processes that this package starts, watches and
// replaces.
//
// The library works on one request at a time, waits for the network without a
// timeout, never recovers from a lost enclave, and can crash its process. But its
// attestation key is a function of the node, so several processes look like one
// quoting enclave from outside. A request goes to an idle worker. If that worker
// fails, hangs or dies, another one gets the request, and the worker is replaced if
// necessary. The size of quotes and the target of reports are answered from memory.
//
// The parts are packages of their own:
//
//	config        the one configuration of helper and workers
//	pool          leases of workers; restart, replacement, draining
//	link          descriptors and the protocol to a worker
//	ql            Intel's library (cgo, in the worker only)
//	quote3        the errors of that library
//	certificates  the platform's certificates: checked, proven, kept on disk
//	fetch         asks the quote provider, in a process that is thrown away
//	dcaptest      a stand-in for Intel's library, for tests
package dcap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/dcap/link"
	"github.com/confcom/confcom/internal/backend/dcap/pool"
	"github.com/confcom/confcom/internal/cachedir"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/sgx"
)

var _ quoting.Backend = (*Backend)(nil)

// The pool of workers, whose generation is the target of reports.
type (
	workerPool = pool.Pool[sgx.TargetInfo, *session]
	lease      = pool.Lease[sgx.TargetInfo, *session]
	candidate  = pool.Candidate[sgx.TargetInfo]
)

// providerCache is the name of the directory in which Intel's provider keeps what it has
// fetched.
const providerCache = ".dcap-qcnl"

// pollInterval is the time between two polls of a worker's memory and files.
const pollInterval = time.Second

// Backend makes quotes in a pool of workers. The errors of its methods are
// *quoting.Failure. It is safe for concurrent use.
type Backend struct {
	config  config.Config
	log     *slog.Logger
	metrics *Metrics
	pool    *workerPool
	// temporary is the directory of the certificates if it is removed at the end.
	temporary string
	proving   sync.WaitGroup // see prove

	mu          sync.Mutex
	closed      bool
	initialized aesm.Initialized // of the newest worker
	sizes       []int            // of the quotes of each place's worker, in bytes
	last        aesm.Backend     // the last description
	described   time.Time        // when it was begun
}

// Start validates a configuration and starts the workers. It does not wait for
// them. An error of the configuration is a *config.InvalidError.
func Start(c config.Config, log *slog.Logger, metrics *Metrics) (*Backend, error) {
	return start(c, log, metrics, pollInterval)
}

func start(c config.Config, log *slog.Logger, metrics *Metrics, poll time.Duration) (*Backend, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	b := &Backend{log: log, metrics: metrics, sizes: make([]int, c.Workers)}
	if c.Certificates == "" {
		dir, err := os.MkdirTemp("", "sgx-quote-helper-")
		if err != nil {
			return nil, fmt.Errorf("create directory for the platform's certificates: %w", err)
		}
		c.Certificates, b.temporary = dir, dir
	} else if err := cachedir.Make(c.Certificates); err != nil {
		return nil, fmt.Errorf("directory for the platform's certificates: %w", err)
	}
	// Intel's provider prefers a cache that is there already, such as one in the home
	// directory, to one that it has to create in AZDCAP_CACHE.
	if err := os.Mkdir(filepath.Join(c.Certificates, providerCache), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		log.Warn("create directory for the provider's cache failed", "error", err)
	}
	b.config = c
	b.pool = pool.Start(pool.Options{
		Places: c.Workers, PollInterval: poll, FinishTimeout: c.Timeout + time.Second,
	}, func(place int) pool.Supervisor[sgx.TargetInfo, *session] {
		return &supervisor{backend: b, place: place, log: log.With("worker", place)}
	})
	metrics.watch(b)
	return b, nil
}

// Close kills all workers. Their requests are lost.
func (b *Backend) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.pool.Close()
	b.proving.Wait()
	if b.temporary != "" {
		_ = os.RemoveAll(b.temporary) // a temporary directory may stay
	}
}

// Workers returns the number of workers: how many requests are served at a time.
func (b *Backend) Workers() int { return b.config.Workers }

// InitQuote returns the target of reports and the ID of the key, which every worker
// initializes before it joins the pool. It waits only if there is no worker.
func (b *Backend) InitQuote(ctx context.Context) (aesm.Initialized, error) {
	if err := b.awaitWorker(ctx); err != nil {
		return aesm.Initialized{}, err
	}
	description := b.description()
	b.mu.Lock()
	defer b.mu.Unlock()
	ready := b.initialized
	ready.Backend = description
	return ready, nil
}

// QuoteSize returns a size in bytes that is enough for the next quote of any
// worker: while certificates change, some may have the old ones. It waits only if
// there is no worker.
func (b *Backend) QuoteSize(ctx context.Context) (int, error) {
	if err := b.awaitWorker(ctx); err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	most := 0
	for _, size := range b.sizes {
		most = max(most, size)
	}
	return most, nil
}

// awaitWorker waits until there is a worker.
func (b *Backend) awaitWorker(ctx context.Context) error {
	if b.pool.Len() > 0 {
		return nil
	}
	l, err := b.pool.Take(ctx, func(candidate) bool { return true })
	if err != nil {
		return b.failure(ctx, err)
	}
	l.Return()
	return nil
}

// learn remembers the identity of a place's worker. It is the same for all workers,
// except while their files or certificates are being replaced.
func (b *Backend) learn(place int, identity link.Identity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.initialized = identity.Initialized
	b.sizes[place] = identity.QuoteSize
}
