// Package doctor examines a machine, the quote helper's pod on it, or an application's:
// can quotes be obtained here, and if not, why?
//
// It runs a list of checks, from the hardware up to a quote. Each returns a verdict, what
// was seen, and what to do. The names of the checks do not change: errors of the quote
// helper refer to them.
package doctor

import (
	"context"
	"slices"
	"time"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/node"
)

// Verdict is the outcome of a check.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning" // quotes may still be possible
	Problem Verdict = "problem"
	Skipped Verdict = "skipped" // nothing to check
)

const (
	limitCheck   = "limit"
	devicesCheck = "devices"
	helperCheck  = "helper" // reports what the daemon here reports
	quoteCheck   = "quote"  // the last check: it requests a quote
)

// Check is the result of a check.
type Check struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	Seen    string  `json:"seen"`
	Remedy  string  `json:"remedy,omitempty"` // what to do, after a warning or a problem
}

// Doctor examines a machine. Its fields are the places to look at.
type Doctor struct {
	Machine       node.Machine
	Place         Place
	Told          *daemon.State // what the daemon here reports of itself; nil if there is none
	Socket        string        // path of the quote helper's socket
	Library       string        // Intel's quoting library, by name or path
	Provider      string        // the quote provider library, by name or path
	EnclaveDir    string        // directory of the architectural enclaves; empty: that of the quoting library
	Configuration string        // path of the configuration of Intel's default quote provider
	Timeout       time.Duration // for each request to a service or the quote helper
	Worker        string        // path of sgx-quote-worker, which runs the quote provider
	Certificates  string        // directory in which the quote helper keeps the platform's certificates; empty if unknown
	FetchTimeout  time.Duration // for the quote provider
	// Platform is the platform for whose certificates the quote provider is asked; nil for
	// that for which the quote helper has asked.
	Platform *certificates.Query
	Environ  []string // of the quote provider, besides what the daemon reports; nil for that of this process

	answers     []answer // of the certificate services, once they were asked
	showsHelper bool     // the check helper has shown a problem
}

// namedCheck is a check with its name.
type namedCheck struct {
	name  string
	check func(context.Context) Check
}

// checks returns all checks in their order.
func (d *Doctor) checks() []namedCheck {
	return []namedCheck{
		{limitCheck, d.limit},
		{"processor", d.processor},
		{"driver", d.driver},
		{devicesCheck, d.devices},
		{"group", d.group},
		{"noexec", d.noexec},
		{"libraries", d.libraries},
		{"enclaves", d.enclaves},
		{"providers", d.providers},
		{"configuration", d.configuration},
		{"network", d.network},
		{"clock", d.clock},
		{"environment", d.environment},
		{helperCheck, d.helper},
		{"socket", d.socket},
		{quoteCheck, d.quote},
	}
}

// run runs the check.
func (c namedCheck) run(ctx context.Context) Check {
	result := c.check(ctx)
	result.Name = c.name
	return result
}

// Names returns the names of all checks.
func Names() []string {
	var names []string
	for _, c := range new(Doctor).checks() {
		names = append(names, c.name)
	}
	return names
}

// Examine runs the checks with the given names or, if there are none, those that matter in
// this place; the others are skipped. If a quote can be obtained, every other problem is
// reported as a warning: the quote helper's pod may have what this machine lacks. An
// application that cannot run enclaves gets no genuine quote, so that its problems remain.
func (d *Doctor) Examine(ctx context.Context, names ...string) []Check {
	d.answers, d.showsHelper = nil, false
	var done []Check
	quotes, genuine := false, false
	for _, c := range d.checks() {
		if len(names) > 0 && !slices.Contains(names, c.name) {
			continue
		}
		why := d.irrelevant(c.name)
		if len(names) > 0 {
			why = ""
		}
		check := Check{Name: c.name, Verdict: Skipped, Seen: why}
		if why == "" {
			check = c.run(ctx)
		}
		if c.name == helperCheck {
			done = d.passOn(done)
			d.showsHelper = check.Verdict == Problem
		}
		done = append(done, check)
		if c.name == quoteCheck {
			quotes, genuine = check.Verdict == OK || check.Verdict == Warning, check.Verdict == OK
		}
	}
	if len(names) > 0 && !slices.Contains(names, helperCheck) {
		done = d.passOn(done)
	}
	for i := range done {
		noEnclave := genuine && d.Place == Application && (done[i].Name == limitCheck || done[i].Name == devicesCheck)
		if quotes && done[i].Verdict == Problem && !noEnclave {
			done[i].Verdict = Warning
		}
	}
	return done
}

func ok(seen string) Check              { return Check{Verdict: OK, Seen: seen} }
func skipped(why string) Check          { return Check{Verdict: Skipped, Seen: why} }
func warning(seen, remedy string) Check { return Check{Verdict: Warning, Seen: seen, Remedy: remedy} }
func problem(seen, remedy string) Check { return Check{Verdict: Problem, Seen: seen, Remedy: remedy} }
