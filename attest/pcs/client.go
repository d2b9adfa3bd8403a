package pcs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/confcom/confcom/attest"
)

// Client fetches collateral from a service. Its fields must not be changed after its first use. It
// is safe for concurrent use.
type Client struct {
	// Service is the service to fetch from: Intel(), or see ServiceAt.
	Service Service
	// Roots are trusted at the head of the chains of collateral; empty means Intel's.
	Roots []attest.Root
	// Update selects the TCB info and QE identity of services that have two of them: "early" or
	// "standard" (the service's default). The early ones include the newest updates.
	Update string
	// Dir is a directory in which responses are cached for other processes and later ones; empty
	// means in memory only. Several processes can use it at the same time.
	Dir string
	// HTTP sends the requests; nil means http.DefaultClient.
	HTTP *http.Client
	// Timeout is the time limit of each attempt; 0 means 10 seconds.
	Timeout time.Duration
	// Attempts is how often a failing request is made; 0 means 3.
	Attempts int
	// Progress, if set, is called after each request, from several goroutines at once.
	Progress func(Step)

	flights singleflight.Group
	memory  memory
}

// Step is a request that was made, or that a cached response made unnecessary.
type Step struct {
	Part   string // for people: "the TCB info"
	URL    string
	Cached bool // the response is from the cache
	Err    error
}

// Collateral returns the collateral of a family, which has been verified, from the cache if it is
// recent enough. Concurrent calls for the same family share the requests.
func (c *Client) Collateral(ctx context.Context, f Family) (*Bundle, error) {
	done := c.flights.DoChan(f.FMSPC+" "+string(f.CA), func() (any, error) {
		return c.collateral(context.WithoutCancel(ctx), f)
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("pcs: fetch collateral from %s: %w", c.Service, ctx.Err())
	case result := <-done:
		bundle, _ := result.Val.(*Bundle)
		return bundle, result.Err
	}
}

func (c *Client) collateral(ctx context.Context, f Family) (*Bundle, error) {
	if c.Service.base == "" {
		return nil, errors.New("pcs: Client.Service is not set: use Intel() for Intel's service")
	}
	bundle, kept, err := c.fetch(ctx, f, false)
	if err != nil && kept {
		// Cached parts may be damaged, or not go together with newer ones.
		bundle, _, err = c.fetch(ctx, f, true)
	}
	return bundle, err
}

// fetch returns verified collateral and reports whether a part of it is from the cache. If anew is
// set, no part is.
func (c *Client) fetch(ctx context.Context, f Family, anew bool) (bundle *Bundle, kept bool, err error) {
	rootCRL, pckCRL, tcbInfo, qeIdentity := c.Service.parts(f, c.Update)
	parts := []part{rootCRL, pckCRL, tcbInfo, qeIdentity}
	responses := make([]*response, len(parts))
	group, ctx := errgroup.WithContext(ctx)
	for i, p := range parts {
		group.Go(func() (err error) {
			var old *response
			if !anew {
				old = c.cached(p)
			}
			responses[i], err = c.get(ctx, p, old)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, false, err
	}
	for _, r := range responses {
		kept = kept || r.kept
	}
	if bundle, err = assemble(responses[0], responses[1], responses[2], responses[3]); err == nil {
		err = c.check(bundle, f)
	}
	if err != nil {
		return nil, kept, fmt.Errorf("pcs: collateral from %s: %w", c.Service, err)
	}
	for i, p := range parts {
		c.keep(p, responses[i])
	}
	return bundle, kept, nil
}

// check verifies collateral, and checks that it is for a family.
func (c *Client) check(b *Bundle, want Family) error {
	roots := c.Roots
	if len(roots) == 0 {
		roots = []attest.Root{attest.IntelRoot()}
	}
	if _, err := attest.NewVerifier(roots...).Check(&b.Collateral, time.Now()); err != nil {
		return err
	}
	got, err := b.Family()
	if err == nil && got != want {
		err = fmt.Errorf("it is for FMSPC %s and the %s CA, not for %s and the %s CA", got.FMSPC, got.CA, want.FMSPC, want.CA)
	}
	return err
}
