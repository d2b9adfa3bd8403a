package attest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Result is what a verification found, step by step.
type Result struct {
	// Trusted is true when all was looked at, and every check has passed.
	Trusted bool `json:"trusted"`
	// Root is the name of the trusted root that heads the chain, if one does.
	Root string `json:"root,omitempty"`

	// Status is that of the platform together with its quoting enclave, in Intel's
	// words; empty where it could not be told. It does not say that the quote is
	// genuine: Trusted does.
	Status TCBStatus `json:"status,omitempty"`
	// Advisories are the known weaknesses of the platform at this status.
	Advisories []string `json:"advisories,omitempty"`
	// TCBDate is until when the platform has all updates.
	TCBDate time.Time `json:"tcbDate,omitzero"`
	// EvaluationDataNumber is the lower one of TCB info and QE identity.
	EvaluationDataNumber int `json:"tcbEvaluationDataNumber,omitempty"`
	// Expires is when the first part of the proof does: certificates, and collateral.
	Expires time.Time `json:"expires,omitzero"`
	// Platform is what the PCK certificate says; nil where it does not.
	Platform *Platform `json:"platform,omitempty"`

	// Checks are in the order of the proof, from the root down to the enclave.
	Checks []Check `json:"checks"`
	// NotChecked names what was not looked at: it is the caller's business, or
	// something was missing.
	NotChecked []string `json:"notChecked"`

	incomplete bool // something was missing
}

// Check is one step of a verification.
type Check struct {
	Name   string `json:"name"`
	Passed bool   `json:"passed"`
	// Detail says what was found, in words.
	Detail string `json:"detail"`
}

var (
	// ErrNotTrusted is wrapped by the error of a verification that has found
	// something wrong.
	ErrNotTrusted = errors.New("the quote is not trusted")
	// ErrIncomplete is wrapped by the error of a verification that has found nothing
	// wrong, but could not look at everything.
	ErrIncomplete = errors.New("verification incomplete")
)

// Err returns nil for a trusted result, and else an error that wraps ErrNotTrusted or
// ErrIncomplete and says why.
func (r *Result) Err() error {
	if r.Trusted {
		return nil
	}
	for _, c := range r.Checks {
		if !c.Passed {
			return fmt.Errorf("attest: %w: %s: %s", ErrNotTrusted, c.Name, c.Detail)
		}
	}
	if r.incomplete {
		return fmt.Errorf("attest: %w: these were not checked: %s", ErrIncomplete, strings.Join(r.NotChecked, "; "))
	}
	return fmt.Errorf("attest: %w: nothing was checked", ErrNotTrusted)
}

// passed tells whether no check has failed.
func (r *Result) passed() bool {
	return !slices.ContainsFunc(r.Checks, func(c Check) bool { return !c.Passed })
}

// add records a check; err says why it failed.
func (r *Result) add(name, detail string, err error) {
	if err != nil {
		detail = err.Error()
	}
	r.Checks = append(r.Checks, Check{Name: name, Passed: err == nil, Detail: detail})
}
