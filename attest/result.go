package attest

import (
	"errors"
	"fmt"
)

// Result is what a verification found, step by step.
type Result struct {
	// Trusted is true when every check passed.
	Trusted bool `json:"trusted"`
	// Root is the name of the trusted root that heads the chain, if one does.
	Root string `json:"root,omitempty"`
	// Checks are in the order of the proof, from the root down to the enclave.
	Checks []Check `json:"checks"`
	// NotChecked names what a complete verification would also look at.
	NotChecked []string `json:"notChecked"`
}

// Check is one step of a verification.
type Check struct {
	Name   string `json:"name"`
	Passed bool   `json:"passed"`
	// Detail says what was found, in words.
	Detail string `json:"detail"`
}

// ErrNotTrusted is wrapped by the error of Verify when a quote was judged and is
// not trusted.
var ErrNotTrusted = errors.New("the quote is not trusted")

// Err returns nil for a trusted result, and else an error that wraps
// ErrNotTrusted and names the first check that failed.
func (r *Result) Err() error {
	if r.Trusted {
		return nil
	}
	for _, c := range r.Checks {
		if !c.Passed {
			return fmt.Errorf("attest: %w: %s: %s", ErrNotTrusted, c.Name, c.Detail)
		}
	}
	return fmt.Errorf("attest: %w: nothing was checked", ErrNotTrusted)
}

// add records a check; err says why it failed.
func (r *Result) add(name, detail string, err error) {
	if err != nil {
		detail = err.Error()
	}
	r.Checks = append(r.Checks, Check{Name: name, Passed: err == nil, Detail: detail})
}
