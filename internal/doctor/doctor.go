// Package doctor examines a machine, or the pod of a quote helper on it: can quotes
// be made here, and if not, why?
//
// It goes through a list of checks from the hardware up to a quote. Each has a
// verdict, what was seen, and what to do. The names of the checks do not change:
// errors of the quote helper point to them.
package doctor

import (
	"context"
	"time"

	"github.com/confcom/confcom/internal/node"
)

// Verdict is the outcome of a check.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning" // quotes may be made all the same
	Problem Verdict = "problem"
	Skipped Verdict = "skipped" // there was nothing to look at
)

// quoteCheck is the check that all the others lead up to.
const quoteCheck = "quote"

// Check is one thing that was looked at.
type Check struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	Seen    string  `json:"seen"`
	Remedy  string  `json:"remedy,omitempty"` // what to do, unless it is ok
}

// Doctor says where to look.
type Doctor struct {
	Machine       node.Machine
	Socket        string        // of the quote helper
	Library       string        // Intel's quoting library, by name or path
	Provider      string        // the quote provider library, by name or path
	EnclaveDir    string        // of the architectural enclaves; empty for that of the library
	Configuration string        // of Intel's default provider
	Timeout       time.Duration // for each step that waits for somebody

	answers []answer // of the services, once they were asked
}

// checks are all checks in their order, by name.
func (d *Doctor) checks() []struct {
	name  string
	check func(context.Context) Check
} {
	return []struct {
		name  string
		check func(context.Context) Check
	}{
		{"processor", d.processor},
		{"driver", d.driver},
		{"devices", d.devices},
		{"group", d.group},
		{"noexec", d.noexec},
		{"libraries", d.libraries},
		{"enclaves", d.enclaves},
		{"providers", d.providers},
		{"configuration", d.configuration},
		{"network", d.network},
		{"clock", d.clock},
		{"environment", d.environment},
		{"socket", d.socket},
		{quoteCheck, d.quote},
	}
}

// Names are those of all checks.
func Names() []string {
	var names []string
	for _, c := range new(Doctor).checks() {
		names = append(names, c.name)
	}
	return names
}

// Examine makes all checks for whose name wanted is true. Where one of them is that
// a quote can be had, nothing else is a problem: a machine may lack libraries that
// the pod of the quote helper has.
func (d *Doctor) Examine(ctx context.Context, wanted func(name string) bool) []Check {
	d.answers = nil
	var done []Check
	quotes := false
	for _, c := range d.checks() {
		if wanted(c.name) {
			check := c.check(ctx)
			check.Name = c.name
			done = append(done, check)
			quotes = quotes || c.name == quoteCheck && check.Verdict != Problem
		}
	}
	for i := range done {
		if quotes && done[i].Verdict == Problem {
			done[i].Verdict = Warning
		}
	}
	return done
}

func ok(seen string) Check              { return Check{Verdict: OK, Seen: seen} }
func skipped(why string) Check          { return Check{Verdict: Skipped, Seen: why} }
func warning(seen, remedy string) Check { return Check{Verdict: Warning, Seen: seen, Remedy: remedy} }
func problem(seen, remedy string) Check { return Check{Verdict: Problem, Seen: seen, Remedy: remedy} }
