package pcs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/internal/cachedir"
)

// Client fetches collateral from a service. Its fields must not be changed after its first use. It
// is safe for concurrent use. Call Close when it is no longer used.
type Client struct {
	// Service is the service to fetch from: Intel(), or see ServiceAt.
	Service Service
	// Roots are trusted at the head of the chains of collateral; empty means Intel's.
	Roots []attest.Root
	// Update selects the TCB info and QE identity of services that have two of them: "early" or
	// "standard" (the service's default). The early ones include the newest updates.
	Update string
	// Dir is a directory in which responses are cached for other processes and later ones; empty
	// means in memory only. Several processes can use it at the same time. It must exist, belong
	// to this user or root, and be writable by nobody else; otherwise Collateral returns an error.
	Dir string
	// SubscriptionKey is sent to Intel's service with requests for PCK certificates, for which it
	// requires one. See CertificatesFor.
	SubscriptionKey string
	// HTTP sends the requests; nil means a client of its own. Redirects to other hosts are not
	// followed.
	HTTP *http.Client
	// Timeout is the time limit of each attempt; 0 means 10 seconds.
	Timeout time.Duration
	// Attempts is how often a failing request is made; 0 means 3. It is made once if there is
	// valid collateral in the cache.
	Attempts int
	// Progress, if set, is called when a part of the collateral was fetched, was read from the
	// cache for the first time, and when fetching it begins to fail or fails in another way: not
	// for each call of Collateral, nor for each request that fails. It is called from several
	// goroutines at once.
	Progress func(Step)

	mu       sync.Mutex
	started  bool
	closed   bool
	ctx      context.Context // of all fetches: Close ends it
	cancel   context.CancelFunc
	http     *http.Client
	own      *http.Transport // of http, if it is not the caller's
	turns    chan struct{}   // has an element for each fetch that is making requests
	fetches  sync.WaitGroup
	families map[Family]*collateral
	parts    map[string]*knownPart // by URL
	kept     map[string]*response  // of certificates, by URL

	failedFamilies failures[Family]
	failedParts    failures[string] // by URL
	// failedCertificates is apart, as a stranger may choose what is requested.
	failedCertificates failures[string] // by URL
}

// Step is a change in what is known of a part of the collateral.
type Step struct {
	Part   string // for people: "the TCB info"
	URL    string
	Cached bool // the response is from the cache
	Err    error
}

const (
	// maxFamilies is how many families' collateral a client keeps. Intel has some dozens.
	maxFamilies = 64
	// maxFetches is how many families are fetched at a time, which bounds the memory for
	// responses.
	maxFetches = 4
)

// collateral is what a client knows of the collateral of a family. Client.mu guards all but the
// first group of fields.
type collateral struct {
	family Family
	parts  [4]part
	load   sync.Once // from the directory

	bundle       *Bundle // verified; nil if there is none
	fresh, valid time.Time
	used         time.Time
	fetch        *fetch // in progress; nil if there is none
}

// fetch is a fetch of the collateral of a family.
type fetch struct {
	done chan struct{} // closed at the end
	err  error         // set before that
}

// Collateral returns the collateral of a family, which has been verified.
//
// If the cache has collateral that is valid, it returns that at once, whatever the service does.
// Collateral that is older than the service allows is refreshed in the background; Close ends that.
// Otherwise it fetches it from the service; concurrent calls for the same family share the
// requests. A failure is remembered for 10 seconds to 5 minutes, in which calls return the same
// error without a request.
func (c *Client) Collateral(ctx context.Context, f Family) (*Bundle, error) {
	return c.collateral(ctx, f, false)
}

// CollateralFor returns what Collateral returns, without when it was fetched: a client is an
// attest.Source.
func (c *Client) CollateralFor(ctx context.Context, f Family) (*attest.Collateral, error) {
	bundle, err := c.Collateral(ctx, f)
	if err != nil {
		return nil, err
	}
	return &bundle.Collateral, nil
}

// InMemory returns valid collateral that is in memory, or nil. It is for families that nobody has
// verified yet, as in quotes of strangers: it reads no file, and a family that the client does not
// know leaves no trace. Collateral that is older than the service allows is refreshed in the
// background.
func (c *Client) InMemory(f Family) *Bundle {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current(c.families[f])
}

// Cached returns what Collateral returns without a request, or nil: it is InMemory, and reads the
// directory if that has none.
func (c *Client) Cached(f Family) *Bundle {
	if b := c.InMemory(f); b != nil || c.Dir == "" {
		return b
	}
	c.mu.Lock()
	err := c.start()
	k := c.families[f]
	c.mu.Unlock()
	if err != nil {
		return nil
	}
	if k == nil {
		k = c.newFamily(f)
	}
	c.load(k)
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.bundle != nil && c.families[f] == nil && c.makeRoom() == nil {
		c.families[f] = k
	}
	return c.current(k)
}

// current returns the collateral of a family if it is valid, and refreshes it if it is old. c.mu is
// held.
func (c *Client) current(k *collateral) *Bundle {
	now := time.Now()
	if k == nil || k.bundle == nil || !now.Before(k.valid) {
		return nil
	}
	k.used = now
	if !now.Before(k.fresh) {
		_, _ = c.fetchFor(k, now, true) // what is cached is valid, whatever the service does
	}
	return k.copyBundle()
}

// Refresh is Collateral for programs that run once: if the collateral in the cache is older than the
// service allows, it waits for the service, and returns what the cache has only if that fails.
func (c *Client) Refresh(ctx context.Context, f Family) (*Bundle, error) {
	return c.collateral(ctx, f, true)
}

// Close ends all fetches and waits for them. Later calls of Collateral return what the cache has.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	started := c.started
	c.mu.Unlock()
	if !started {
		return
	}
	c.cancel()
	c.fetches.Wait()
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

func (c *Client) collateral(ctx context.Context, f Family, wait bool) (*Bundle, error) {
	k, err := c.family(f)
	if err != nil {
		return nil, err
	}
	k.load.Do(func() { c.load(k) })
	c.mu.Lock()
	now := time.Now()
	valid := k.bundle != nil && now.Before(k.valid)
	current := k.copyBundle()
	if valid && now.Before(k.fresh) {
		c.mu.Unlock()
		return current, nil
	}
	running, err := c.fetchFor(k, now, valid)
	c.mu.Unlock()
	switch {
	case valid && (err != nil || !wait):
		return current, nil
	case err != nil:
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("pcs: fetch collateral from %s: %w", c.Service, ctx.Err())
	case <-running.done:
	}
	if running.err != nil && valid {
		return current, nil
	}
	if running.err != nil {
		return nil, running.err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return k.copyBundle(), nil
}

// copyBundle returns a copy of the bundle, whose bytes are shared.
func (k *collateral) copyBundle() *Bundle {
	if k.bundle == nil {
		return nil
	}
	b := *k.bundle
	return &b
}

// family returns what is known of a family.
func (c *Client) family(f Family) (*collateral, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.start(); err != nil {
		return nil, err
	}
	k := c.families[f]
	if k == nil {
		if err := c.Service.checkFamily(f); err != nil {
			return nil, err
		}
		if err := c.makeRoom(); err != nil {
			return nil, err
		}
		k = c.newFamily(f)
		c.families[f] = k
	}
	k.used = time.Now()
	return k, nil
}

func (c *Client) newFamily(f Family) *collateral {
	k := &collateral{family: f}
	k.parts[0], k.parts[1], k.parts[2], k.parts[3] = c.Service.parts(f, c.Update)
	return k
}

// start prepares the client for its first use.
func (c *Client) start() error {
	if c.started {
		return nil
	}
	if c.Service.base == "" {
		return errors.New("pcs: Client.Service is not set: use Intel() for Intel's service")
	}
	if c.Dir != "" {
		dir, err := cachedir.Open(c.Dir)
		if err != nil {
			return fmt.Errorf("pcs: %w", err)
		}
		_ = dir.Close() // it was only looked at
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.http, c.own = newHTTPClient(c.HTTP)
	c.turns = make(chan struct{}, maxFetches)
	c.families, c.parts = make(map[Family]*collateral), make(map[string]*knownPart)
	c.failedFamilies, c.failedParts, c.failedCertificates = make(failures[Family]), make(failures[string]), make(failures[string])
	c.started = true
	return nil
}

// makeRoom forgets a family if there are too many: one without collateral, or else the one that was
// not used for the longest time. c.mu is held.
func (c *Client) makeRoom() error {
	if len(c.families) < maxFamilies {
		return nil
	}
	var oldest *collateral
	for _, k := range c.families {
		if k.fetch == nil && (oldest == nil || k.isWorthLess(oldest)) {
			oldest = k
		}
	}
	if oldest == nil {
		return fmt.Errorf("pcs: fetch collateral from %s: %d families are being fetched already: try again later", c.Service, len(c.families))
	}
	delete(c.families, oldest.family)
	return nil
}

// isWorthLess reports whether k rather than other is forgotten.
func (k *collateral) isWorthLess(other *collateral) bool {
	if (k.bundle == nil) != (other.bundle == nil) {
		return k.bundle == nil
	}
	return k.used.Before(other.used)
}

// fetchFor returns the fetch of a family that is in progress, or starts one, unless the last one
// failed a short time ago. c.mu is held.
func (c *Client) fetchFor(k *collateral, now time.Time, valid bool) (*fetch, error) {
	if k.fetch != nil {
		return k.fetch, nil
	}
	if c.closed {
		return nil, fmt.Errorf("pcs: fetch collateral from %s: the client is closed", c.Service)
	}
	if err := c.failedFamilies.at(k.family, now); err != nil {
		return nil, err
	}
	for _, p := range k.parts {
		// For a family that is not known yet, a cached response may still do.
		if known := c.parts[p.url]; valid || known == nil || known.response == nil {
			if err := c.failedParts.at(p.url, now); err != nil {
				return nil, err
			}
		}
	}
	attempts := 1
	if !valid {
		attempts = max(cmp.Or(c.Attempts, defaultAttempts), 1)
	}
	running := &fetch{done: make(chan struct{})}
	k.fetch = running
	c.fetches.Go(func() {
		defer close(running.done)
		running.err = c.fetch(k, attempts)
		c.mu.Lock()
		defer c.mu.Unlock()
		k.fetch = nil
		if running.err == nil {
			delete(c.failedFamilies, k.family)
		} else if c.ctx.Err() == nil {
			c.failedFamilies.note(k.family, running.err, time.Now())
		}
	})
	return running, nil
}

// fetch fetches the collateral of a family, verifies it and keeps it.
func (c *Client) fetch(k *collateral, attempts int) error {
	select {
	case c.turns <- struct{}{}:
		defer func() { <-c.turns }()
	case <-c.ctx.Done():
		return fmt.Errorf("pcs: fetch collateral from %s: %w", c.Service, c.ctx.Err())
	}
	responses, err := c.requestAll(k, attempts, false)
	if err == nil {
		err = c.accept(k, responses)
		switch {
		case err == nil:
		case responses.failure() != nil:
			err = fmt.Errorf("%w; and what is cached cannot be used: %w", responses.failure(), err)
		case responses.kept():
			// Cached parts may be damaged, or not go together with newer ones.
			if responses, err = c.requestAll(k, attempts, true); err == nil {
				err = c.accept(k, responses)
			}
		}
	}
	return err
}

// accept verifies responses and keeps them.
func (c *Client) accept(k *collateral, responses responses) error {
	bundle, valid, err := c.verify(k.family, responses)
	if err != nil {
		return err
	}
	if newest, older := c.newest(k.parts, responses); older {
		// If they do not go together, as after one of them has expired, the service's are used.
		if b, until, err := c.verify(k.family, newest); err == nil {
			bundle, valid, responses = b, until, newest
			for i, p := range k.parts {
				if failed := newest[i].failed; failed != nil {
					c.report(Step{Part: p.name, URL: p.url, Cached: true, Err: failed})
				}
			}
		}
	}
	c.mu.Lock()
	k.bundle, k.fresh, k.valid = bundle, responses.fresh(), valid
	c.mu.Unlock()
	c.keep(k.parts, responses)
	return nil
}

// verify assembles responses, verifies that they are collateral for a family, and returns until
// when they are valid.
func (c *Client) verify(want Family, responses responses) (*Bundle, time.Time, error) {
	bundle, err := assemble(responses[0], responses[1], responses[2], responses[3])
	var until time.Time
	if err == nil {
		until, err = c.check(bundle, want)
	}
	var issued [4]time.Time
	if err == nil {
		issued, err = bundle.issueDates()
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("pcs: collateral from %s: %w", c.Service, err)
	}
	for i, r := range responses {
		r.issued = issued[i]
	}
	return bundle, until, nil
}

// check verifies collateral, and checks that it is for a family.
func (c *Client) check(b *Bundle, want Family) (until time.Time, err error) {
	roots := c.Roots
	if len(roots) == 0 {
		roots = []attest.Root{attest.IntelRoot()}
	}
	result, err := attest.NewVerifier(roots...).Check(&b.Collateral, time.Now())
	if err != nil {
		return time.Time{}, err
	}
	got, err := b.Family()
	if err == nil && got != want {
		err = fmt.Errorf("it is for %s, not for %s", got, want)
	}
	return result.Expires, err
}
