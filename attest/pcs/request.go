package pcs

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"
)

const (
	defaultTimeout  = 10 * time.Second
	defaultAttempts = 3
	// maxBody is larger than any part of collateral, of which the largest have some 10 KB: a CRL of
	// this size has more than 20,000 entries.
	maxBody = 1 << 20
	// maxPause is the longest time between two attempts.
	maxPause = 30 * time.Second
	// A response is requested again after this time at the earliest and at the latest, whatever
	// the service says.
	minLifetime = time.Minute
	maxLifetime = 7 * 24 * time.Hour
)

// StatusError is a response with a status other than 200.
type StatusError struct {
	URL    string
	Status int
	// RetryAfter is how long the service asks clients to wait before they retry; 0 if the
	// response does not have it.
	RetryAfter time.Duration
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("pcs: get %s: status %d", e.URL, e.Status)
	switch e.Status {
	case http.StatusNotFound:
		return text + ": no collateral for these platforms"
	case http.StatusGone:
		return text + ": no longer served"
	case http.StatusUnauthorized, http.StatusForbidden:
		return text + ": access denied"
	case 461, 462: // of a PCCS
		return text + ": platform not registered with the PCCS"
	}
	if name := http.StatusText(e.Status); name != "" {
		return text + ": " + name
	}
	return text
}

// requestAll returns responses for the parts of the collateral of a family, from the cache if they
// have not expired. If anew is set, it requests all of them.
func (c *Client) requestAll(k *collateral, attempts int, anew bool) (responses, error) {
	var got responses
	group, ctx := errgroup.WithContext(c.ctx)
	for i, p := range k.parts {
		group.Go(func() (err error) {
			var old *response
			if !anew {
				old = c.cached(p)
			}
			got[i], err = c.get(ctx, p, old, attempts)
			return err
		})
	}
	return got, group.Wait()
}

// get returns a cached response that has not expired, or else a new one. If the service fails, it
// returns the cached response: the caller verifies that it is still valid.
func (c *Client) get(ctx context.Context, p part, cached *response, attempts int) (*response, error) {
	if cached != nil && time.Now().Before(cached.Expires) {
		c.report(Step{Part: p.name, URL: p.url, Cached: true})
		return cached, nil
	}
	if err := c.remembered(p); err != nil {
		return standIn(cached, err)
	}
	pauses := newPacing()
	var last error // of a request, also where ctx ends the pause after it
	r, err := backoff.Retry(ctx, func() (r *response, err error) {
		r, last = c.request(ctx, p, cached)
		return r, pauses.classify(last)
	}, backoff.WithBackOff(pauses), backoff.WithMaxTries(uint(attempts)), backoff.WithMaxElapsedTime(0))
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("pcs: fetch %s: %w", p.name, ctx.Err()) // another part has failed, or the client is closed
	}
	c.mu.Lock()
	if err != nil {
		c.failedParts.note(p.url, last, time.Now())
	} else {
		delete(c.failedParts, p.url)
	}
	c.mu.Unlock()
	if err == nil {
		c.report(Step{Part: p.name, URL: p.url})
		return r, nil
	}
	c.report(Step{Part: p.name, URL: p.url, Cached: cached != nil, Err: last})
	return standIn(cached, last)
}

// remembered returns the error of the last request for a part, while it is remembered.
func (c *Client) remembered(p part) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failedParts.at(p.url, time.Now())
}

// standIn returns a cached response in place of one that could not be fetched, or the error if there
// is none.
func standIn(cached *response, err error) (*response, error) {
	if cached == nil {
		return nil, err
	}
	cached.failed = err
	return cached, nil
}

// state is what a Step says of a part. The zero state is that nothing is known.
type state struct {
	known, failing bool
	status         int // with which it fails
}

// report calls Progress for a step that is news: a response that was fetched, or another state than
// the last one.
func (c *Client) report(s Step) {
	if c.Progress == nil {
		return
	}
	now := state{known: true, failing: s.Err != nil}
	if status, ok := errors.AsType[*StatusError](s.Err); ok {
		now.status = status.Status
	}
	c.mu.Lock()
	known := c.known(part{url: s.URL})
	var news bool
	switch before := known.reported; {
	case s.Err != nil:
		news = now != before
	case s.Cached:
		news = !before.known
	default:
		news = true
	}
	if news {
		known.reported = now
	}
	c.mu.Unlock()
	if news {
		c.Progress(s)
	}
}

// pacing is the pauses between attempts: exponential, and as long as the service asks for, but not
// longer than maxPause.
type pacing struct {
	*backoff.ExponentialBackOff
	retryAfter time.Duration // of the last response
}

// newPacing returns pauses from 1 to 1.5 seconds, then from 2 to 3 seconds, and so on.
func newPacing() *pacing {
	return &pacing{ExponentialBackOff: &backoff.ExponentialBackOff{
		InitialInterval: 1250 * time.Millisecond, RandomizationFactor: 0.2, Multiplier: 2, MaxInterval: maxPause,
	}}
}

// NextBackOff returns the next pause.
func (p *pacing) NextBackOff() time.Duration {
	return min(max(p.ExponentialBackOff.NextBackOff(), p.retryAfter), maxPause)
}

// classify marks the error of an attempt as permanent if another attempt would fail as well.
func (p *pacing) classify(err error) error {
	p.retryAfter = 0
	if status, ok := errors.AsType[*StatusError](err); ok {
		p.retryAfter = status.RetryAfter
		if status.Status != http.StatusTooManyRequests && status.Status < http.StatusInternalServerError {
			return backoff.Permanent(err)
		}
	}
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		return backoff.Permanent(err)
	}
	if errors.Is(err, errRedirect) {
		return backoff.Permanent(err)
	}
	return err
}

// request makes one request. If the service says that a cached response is still current, it is the
// response.
func (c *Client) request(ctx context.Context, p part, cached *response) (*response, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Timeout, defaultTimeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return nil, fmt.Errorf("pcs: %w", err)
	}
	if cached != nil && cached.ETag != "" {
		request.Header.Set("If-None-Match", cached.ETag)
	}
	if cached != nil && cached.LastModified != "" {
		request.Header.Set("If-Modified-Since", cached.LastModified)
	}
	if p.restricted && c.SubscriptionKey != "" {
		request.Header.Set("Ocp-Apim-Subscription-Key", c.SubscriptionKey)
	}
	got, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("pcs: fetch %s: %w", p.name, err)
	}
	defer got.Body.Close()
	switch {
	case got.StatusCode == http.StatusNotModified && cached != nil:
		again := *cached
		again.kept, again.failed = false, nil
		again.Fetched, again.Expires = time.Now(), expires(got.Header)
		return &again, nil
	case got.StatusCode != http.StatusOK:
		seconds, _ := strconv.Atoi(got.Header.Get("Retry-After"))
		return nil, &StatusError{URL: p.url, Status: got.StatusCode, RetryAfter: time.Duration(max(seconds, 0)) * time.Second}
	}
	body, err := io.ReadAll(io.LimitReader(got.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("pcs: fetch %s: %w", p.name, err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("pcs: get %s: the response has more than %d MiB", p.url, maxBody>>20)
	}
	chain, err := chainOf(got.Header, p.chain)
	if err != nil {
		return nil, fmt.Errorf("pcs: get %s: %w", p.url, err)
	}
	return &response{
		URL: p.url, Body: body, Chain: chain, Fetched: time.Now(), Expires: expires(got.Header),
		ETag: got.Header.Get("ETag"), LastModified: got.Header.Get("Last-Modified"),
	}, nil
}

// expires returns until when a response can be used without asking again: as long as the service
// says (RFC 9111), but at least minLifetime and at most maxLifetime; if it says nothing, an hour.
func expires(header http.Header) time.Time {
	lifetime := time.Hour
	for directive := range strings.SplitSeq(header.Get("Cache-Control"), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return time.Now().Add(minLifetime)
		case "max-age":
			if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
				lifetime = time.Duration(min(seconds, int(maxLifetime/time.Second))) * time.Second
			}
		}
	}
	return time.Now().Add(max(lifetime, minLifetime))
}
