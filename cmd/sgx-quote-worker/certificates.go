//go:build cgo

package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/dcap/fetch"
	"github.com/confcom/confcom/internal/backend/dcap/ql"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/qcnl"
)

// newCache returns the cache of what fetch returns. Another provider library or
// another configuration of it has its own data, so that a change is tried when a
// worker starts, and not when the certificates are old.
func newCache(c config.Config, fetch certificates.Provider, log *slog.Logger) *certificates.Cache {
	h := sha256.New()
	fmt.Fprintln(h, c.Provider)
	if info, err := os.Stat(c.Provider); err == nil {
		fmt.Fprintln(h, info.Size(), info.ModTime().UnixNano())
	}
	configuration, err := os.ReadFile(c.QCNL)
	fmt.Fprintln(h, string(configuration), err != nil)
	return &certificates.Cache{
		Dir: c.Certificates, Namespace: hex.EncodeToString(h.Sum(nil)),
		RefreshAfter: c.RefreshAfter, Fetch: fetch, Log: log,
	}
}

// newFetcher returns what asks the provider, in a process of this program with the same
// arguments.
func newFetcher(c config.Config, program string) *fetch.Fetcher {
	return &fetch.Fetcher{Command: append([]string{program, "--fetch"}, os.Args[1:]...), Timeout: c.FetchTimeout}
}

// service names the services that the provider asks. It gets into errors, which everybody
// can read who reaches the helper's HTTP address.
func service(c config.Config, azure bool) string {
	if azure {
		return cmp.Or(daemon.WithoutSecrets(os.Getenv("AZDCAP_PRIMARY_BASE_CERT_URL")), "Azure's certificate service (169.254.169.254)")
	}
	settings := qcnl.Default() // which Intel's provider uses without the file
	if text, err := os.ReadFile(c.QCNL); err == nil {
		settings, _ = qcnl.Parse(text)
	}
	urls := settings.URLs()
	if len(urls) == 0 {
		return "the provider's own cache, as local_cache_only is set"
	}
	for i, url := range urls {
		urls[i] = daemon.WithoutSecrets(url)
	}
	return strings.Join(urls, " or ")
}

// answer is the process that asks the provider.
func answer(ctx context.Context, c config.Config, log *slog.Logger) error {
	out := os.NewFile(fetch.FD, "result")
	defer out.Close()
	return fetch.Serve(ctx, os.Stdin, out, func(ctx context.Context, q certificates.Query) (certificates.Answer, []fetch.Request, error) {
		lines := &heard{log: log}
		answer, err := askInTime(ctx, c, q, lines)
		return answer, lines.made(), err
	})
}

// askInTime is ask that gives up shortly before this process is killed, if it knows why
// the provider takes so long: Intel's asks again and again, which takes a minute.
func askInTime(ctx context.Context, c config.Config, q certificates.Query, lines *heard) (certificates.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.FetchTimeout*9/10)
	defer cancel()
	type result struct {
		answer certificates.Answer
		err    error
	}
	asked := make(chan result, 1)
	go func() { // not waited for: the process ends
		answer, err := ask(c, q, lines)
		asked <- result{answer, err}
	}()
	select {
	case r := <-asked:
		return r.answer, r.err
	case <-ctx.Done():
	}
	switch cause := lines.lastCause(); {
	case cause != "":
		return certificates.Answer{}, fmt.Errorf("%s, and the provider has not given up: %w", cause, quote3.ServiceTimeout)
	case len(lines.made()) > 0:
		// Such as a connection that is refused at once, to a provider that tries again for
		// a minute: it logs errors of the network only after the last attempt.
		return certificates.Answer{}, fmt.Errorf("no answer or no connection within %s, and the provider has not given up (confcom doctor --check=network finds out why): %w", c.FetchTimeout*9/10, quote3.ServiceTimeout)
	}
	r := <-asked
	return r.answer, r.err
}

// ask loads the provider and asks it. If its answer is of no use, it has the provider
// forget what it has kept of it.
func ask(c config.Config, q certificates.Query, lines *heard) (certificates.Answer, error) {
	provider, err := ql.OpenProvider(c.Provider, lines.hear)
	if err != nil {
		return certificates.Answer{}, &fetch.LoadError{Err: err}
	}
	clearCache := func() {
		if err := provider.ClearCache(); err != nil {
			lines.log.Warn("clear the provider's cache failed", "error", err)
		}
	}
	if q.Fresh {
		clearCache()
	}
	data, err := provider.Fetch(q.ID, q.EncryptedPPID)
	if err != nil {
		return certificates.Answer{}, lines.explain(err)
	}
	if err := data.Check(); err != nil {
		clearCache()
		return certificates.Answer{}, &certificates.UselessError{Err: err}
	}
	return certificates.Answer{Data: data, Source: lines.source()}, nil
}
