package doctor

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/dcap/fetch"
	"github.com/confcom/confcom/internal/qcnl"
)

// asking is what came of asking the quote provider for certificates.
type asking struct {
	// invented is whether it was asked for a platform that does not exist, as the
	// identity of this one is not known.
	invented bool
	requests []fetch.Request // that the provider has made, as far as it logs them
	err      error           // nil if it has returned certificates that a worker would accept
}

// platform describes the platform that was asked for.
func (a asking) platform() string {
	if a.invented {
		return "a platform that does not exist"
	}
	return "this platform"
}

// unaskable returns why the quote provider cannot be asked here, empty if it can.
func (d *Doctor) unaskable() string {
	if d.Machine.Sysroot != "/" {
		return "this is another machine's tree of files"
	}
	if len(d.installed()) == 0 {
		return "no quote provider is installed here"
	}
	if _, err := exec.LookPath(d.Worker); err != nil {
		return d.Worker + ", which would run it, cannot be executed here"
	}
	return ""
}

// askProvider has the quote provider ask its services for this platform's certificates, as
// a worker of the quote helper does: in a process of its own, with the helper's
// configuration and environment, and what is added to that. What the provider has cached
// is neither used nor changed.
func (d *Doctor) askProvider(ctx context.Context, added ...string) (asking, error) {
	query, known := certificates.LastQuery(d.Certificates)
	if d.Platform != nil {
		query, known = *d.Platform, true
	}
	query.Fresh = false // which would clear the cache
	dir, err := os.MkdirTemp("", "confcom-doctor-")
	if err != nil {
		return asking{}, err
	}
	defer os.RemoveAll(dir)
	// Intel's provider prefers a cache that is there already to one that it has to create.
	if err := os.Mkdir(filepath.Join(dir, ".dcap-qcnl"), 0o700); err != nil {
		return asking{}, err
	}
	c := config.Default()
	c.Provider, c.QCNL, c.FetchTimeout = d.Provider, d.Configuration, d.FetchTimeout
	var services []string
	all, _ := d.services()
	for _, s := range all {
		if !s.optional {
			services = append(services, qcnl.WithoutPassword(s.base))
		}
	}
	fetcher := fetch.Fetcher{
		Command: []string{d.Worker, "--fetch", "--config=" + c.Encode(), "--log-format=json"},
		Service: strings.Join(services, " or "),
		Timeout: d.FetchTimeout,
		Env:     append(d.providerEnvironment(dir), added...),
		Log:     io.Discard, // the errors have its essence
	}
	answer, requests, err := fetcher.Ask(ctx, query)
	if kept, isKept := certificates.LastKept(d.Certificates); err == nil && isKept && d.Platform == nil {
		if other := answer.Data.CheckKept(kept); other != nil {
			err = &certificates.UselessError{Err: fmt.Errorf("the answer of %s is of no use: %w", fetcher.Service, other)}
		}
	}
	return asking{invented: !known, requests: requests, err: err}, nil
}

// providerEnvironment returns the environment of the provider: that of the quote helper
// here, with another directory for what it caches.
func (d *Doctor) providerEnvironment(cache string) []string {
	env := slices.Clone(d.Environ)
	if d.Environ == nil {
		env = os.Environ()
	}
	set := func(name, value string, isSet bool) {
		env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
		if isSet {
			env = append(env, name+"="+value)
		}
	}
	for _, name := range qcnl.Variables() {
		value, isSet := d.variable(name)
		set(name, value, isSet)
	}
	set("QCNL_CONF_PATH", d.Configuration, true)
	set("AZDCAP_CACHE", cache, true)
	return env
}

// networkByProvider is the check network by way of the quote provider.
func (d *Doctor) networkByProvider(ctx context.Context) Check {
	asked, err := d.askProvider(ctx)
	if err != nil {
		return problem(err.Error(), "make the directory for temporary files ("+os.TempDir()+") writable for this user")
	}
	check := d.judge(ctx, asked)
	if asked.err == nil && len(asked.requests) == 1 && d.ofAzure() {
		// Its primary service has answered, so that it did not ask the secondary one.
		second, err := d.askProvider(ctx, "AZDCAP_BYPASS_BASE_URL=true")
		if err == nil && len(second.requests) > 0 && second.requests[0].URL != asked.requests[0].URL {
			check = both(check, d.judge(ctx, second))
		}
	}
	return check
}

// both returns the result of two checks of which one has to be ok.
func both(first, second Check) Check {
	result := Check{Verdict: first.Verdict, Seen: first.Seen + "; " + second.Seen, Remedy: first.Remedy}
	if second.Remedy != "" {
		result.Verdict = Warning
		result.Remedy = strings.TrimPrefix(result.Remedy+"; "+second.Remedy, "; ")
	}
	return result
}
