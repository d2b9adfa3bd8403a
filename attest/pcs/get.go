package pcs

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	defaultTimeout  = 10 * time.Second
	defaultAttempts = 3
	// maxBody is more than any part of collateral has.
	maxBody = 4 << 20
	// maxPause is the longest time between two attempts, whatever the service says.
	maxPause = 30 * time.Second
)

// StatusError is an answer that is none to what was asked.
type StatusError struct {
	URL    string
	Status int
	// RetryAfter is how long the service wants to be left alone; 0 is not said.
	RetryAfter time.Duration
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("pcs: %s: status %d", e.URL, e.Status)
	switch e.Status {
	case http.StatusNotFound:
		return text + ": it has none for such a platform"
	case http.StatusGone:
		return text + ": it is no longer served"
	case http.StatusUnauthorized, http.StatusForbidden:
		return text + ": it does not answer to you"
	case 461, 462: // of a PCCS
		return text + ": the platform is not known there"
	}
	if name := http.StatusText(e.Status); name != "" {
		return text + ": " + name
	}
	return text
}

// get returns an old answer that may still be used, or a new one. Where the service
// does not answer, the old one is better than none, if it is valid.
func (c *Client) get(ctx context.Context, p part, old *answer) (*answer, error) {
	if old != nil && c.time().Before(old.Expires) {
		c.tell(Step{Part: p.name, URL: p.url, Kept: true})
		return old, nil
	}
	var err error
	attempts := cmp.Or(c.Attempts, defaultAttempts)
	for attempt := range attempts {
		var a *answer
		if a, err = c.ask(ctx, p, old); err == nil {
			c.tell(Step{Part: p.name, URL: p.url})
			return a, nil
		}
		pause, again := c.again(err, attempt)
		if !again || attempt == attempts-1 || c.wait(ctx, pause) != nil {
			break
		}
	}
	c.tell(Step{Part: p.name, URL: p.url, Kept: old != nil, Err: err})
	if old != nil {
		return old, nil
	}
	return nil, err
}

func (c *Client) tell(s Step) {
	if c.Progress != nil {
		c.Progress(s)
	}
}

// again tells whether a request may succeed if it is made again, and after how long.
func (c *Client) again(err error, attempt int) (time.Duration, bool) {
	pause := time.Second << attempt
	pause += rand.N(pause) / 2
	if status, ok := errors.AsType[*StatusError](err); ok {
		if status.Status != http.StatusTooManyRequests && status.Status < http.StatusInternalServerError {
			return 0, false
		}
		return min(max(pause, status.RetryAfter), maxPause), true
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return pause, !untrusted
}

// wait waits for as long as a pause is.
func (c *Client) wait(ctx context.Context, pause time.Duration) error {
	if c.pause != nil {
		return c.pause(ctx, pause)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// ask makes one request. Where an old answer is still what the service has, that is
// the answer.
func (c *Client) ask(ctx context.Context, p part, old *answer) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Timeout, defaultTimeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return nil, fmt.Errorf("pcs: %w", err)
	}
	if old != nil && old.ETag != "" {
		request.Header.Set("If-None-Match", old.ETag)
	}
	if old != nil && old.LastModified != "" {
		request.Header.Set("If-Modified-Since", old.LastModified)
	}
	response, err := cmp.Or(c.HTTP, http.DefaultClient).Do(request)
	if err != nil {
		return nil, fmt.Errorf("pcs: %s: %w", p.name, err)
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNotModified && old != nil:
		again := *old
		again.kept = false
		again.Fetched, again.Expires = c.time(), c.expires(response.Header)
		return &again, nil
	case response.StatusCode != http.StatusOK:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		return nil, &StatusError{URL: p.url, Status: response.StatusCode, RetryAfter: time.Duration(max(seconds, 0)) * time.Second}
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("pcs: %s: %w", p.name, err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("pcs: %s: more than %d MiB: that is no collateral", p.url, maxBody>>20)
	}
	chain, err := chainOf(response.Header, p.chain)
	if err != nil {
		return nil, fmt.Errorf("pcs: %s: %w", p.url, err)
	}
	return &answer{
		URL: p.url, Body: body, Chain: chain, Fetched: c.time(), Expires: c.expires(response.Header),
		ETag: response.Header.Get("ETag"), LastModified: response.Header.Get("Last-Modified"),
	}, nil
}

// expires is until when an answer may be used without asking again: what the service
// says (RFC 9111), or else an hour.
func (c *Client) expires(header http.Header) time.Time {
	lifetime := time.Hour
	for directive := range strings.SplitSeq(header.Get("Cache-Control"), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return c.time()
		case "max-age":
			if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
				lifetime = time.Duration(min(seconds, 7*24*3600)) * time.Second
			}
		}
	}
	return c.time().Add(lifetime)
}
