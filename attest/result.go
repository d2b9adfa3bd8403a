package attest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Result is an attestation result: what a verification found, step by step.
type Result struct {
	// Trusted is true if everything was checked and all checks passed.
	Trusted bool `json:"trusted"`
	// Root is the name of the trusted root at the head of the certificate chain; empty if
	// the chain ends in another root.
	Root string `json:"root,omitempty"`

	// Status is the TCB status of the platform together with its quoting enclave and, for a
	// trust domain, its TDX module; empty if it could not be determined. It does not mean
	// that the quote is genuine: Trusted does.
	Status TCBStatus `json:"status,omitempty"`
	// Advisories are the known vulnerabilities of the platform at this status.
	Advisories []string `json:"advisories,omitempty"`
	// TCBDate is the date up to which the platform has all updates.
	TCBDate time.Time `json:"tcbDate,omitzero"`
	// Short is what keeps the platform from being UpToDate, part by part, and what mends it.
	Short []Shortfall `json:"short,omitempty"`
	// EvaluationDataNumber is the lower of the numbers of TCB info and QE identity.
	EvaluationDataNumber int `json:"tcbEvaluationDataNumber,omitempty"`
	// Expires is when the first part of the proof expires: a certificate, or a part of
	// the collateral, which also expires when the policy no longer accepts its age. It is
	// not before the time of verification if the quote is trusted.
	Expires time.Time `json:"expires,omitzero"`
	// CollateralIssued is when the oldest of TCB info, QE identity and PCK CRL was issued, which
	// Policy.MaxCollateralAge bounds.
	CollateralIssued time.Time `json:"collateralIssued,omitzero"`
	// Platform is the content of the PCK certificate; nil if it could not be read.
	Platform *Platform `json:"platform,omitempty"`

	// Checks are in the order of the proof, from the root down to the enclave.
	Checks []Check `json:"checks"`
	// NotChecked is what was not checked: because the policy does not ask for it, or
	// because something was missing.
	NotChecked []Unchecked `json:"notChecked"`

	missing error // why there was no collateral, if it was fetched
}

var (
	// ErrNotTrusted is wrapped by the error of a verification in which a check failed:
	// a *CheckError.
	ErrNotTrusted = errors.New("the quote is not trusted")
	// ErrCollateral is wrapped besides ErrNotTrusted if the first check that failed is
	// about the collateral: the quote may well be genuine, but other collateral is needed to
	// prove it.
	ErrCollateral = errors.New("the collateral cannot be used")
	// ErrIncomplete is wrapped by the error of a verification in which no check failed,
	// but not everything could be checked.
	ErrIncomplete = errors.New("verification incomplete")
)

// Err returns nil for a trusted result. Otherwise it returns a *CheckError with the
// first check that failed, which wraps ErrNotTrusted, or an error that wraps
// ErrIncomplete.
func (r *Result) Err() error {
	if r.Trusted {
		return nil
	}
	for _, c := range r.Checks {
		if !c.Passed {
			return c.checkError()
		}
	}
	if r.missing != nil {
		return fmt.Errorf("attest: %w: fetch collateral: %w", ErrIncomplete, r.missing)
	}
	if r.incomplete() {
		var missing []string
		for _, u := range r.NotChecked {
			missing = append(missing, string(u))
		}
		advice := ""
		if slices.Contains(r.NotChecked, UncheckedIdentity) {
			advice = "set Policy.MREnclaves, MRSigners or AnyEnclave, or TrustDomain for trust domains: "
		}
		return fmt.Errorf("attest: %w: %snot checked: %s", ErrIncomplete, advice, strings.Join(missing, "; "))
	}
	return fmt.Errorf("attest: %w: nothing was checked", ErrNotTrusted)
}

// passed reports whether no check failed.
func (r *Result) passed() bool {
	return !slices.ContainsFunc(r.Checks, func(c Check) bool { return !c.Passed })
}

// incomplete reports whether something that a verification needs was not checked.
func (r *Result) incomplete() bool { return slices.ContainsFunc(r.NotChecked, Unchecked.incomplete) }

// add records checks, in the order of the proof.
func (r *Result) add(checks ...Check) { r.Checks = append(r.Checks, checks...) }

// omit records what was not checked.
func (r *Result) omit(unchecked ...Unchecked) { r.NotChecked = append(r.NotChecked, unchecked...) }
