// Package verify verifies evidence in one call: it reads the quote in any of the forms of package
// evidence, gets collateral for it, and verifies and appraises it with package attest.
//
// The order is the safe one. Collateral is requested only once the certificate chain of the quote
// ends in a trusted root and its signatures are valid, so a stranger's bytes cause no request.
//
// Callers who hold a parsed quote and its collateral use attest.Verifier alone, which needs
// nothing but the standard library.
package verify

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/quote"
)

// Verifier verifies evidence. Keep it: it remembers certificates and collateral that it has
// checked, which makes the next verification many times faster. Its fields must not be changed
// after its first use. It is safe for concurrent use.
type Verifier struct {
	// Roots are trusted at the head of certificate chains; empty means Intel's.
	Roots []attest.Root
	// Source has the collateral: a *pcs.Client, or an *attest.Collateral that was read from a
	// file. With nil, verifications are incomplete.
	Source attest.Source
	// Certificates has the certificates of platforms whose quotes lack them. With nil, such quotes
	// cannot be verified.
	Certificates CertificateSource
	// Now returns the time of a verification; nil means time.Now.
	Now func() time.Time

	once     sync.Once
	verifier *attest.Verifier
}

// Result is an attestation result and what was read to come to it.
type Result struct {
	*attest.Result
	// Quote is the quote that was verified. It says something about an enclave or trust domain
	// only if the result is trusted.
	Quote *quote.Quote `json:"-"`
	// Evidence is what held the quote. NotChecked has what is not known about it.
	Evidence evidence.Summary `json:"evidence"`
}

// Verify reads evidence in any form, verifies it, and appraises it by a policy.
//
// The error is nil if and only if the evidence is trusted. It wraps attest.ErrNotTrusted if a
// check failed, and attest.ErrIncomplete if there was no collateral; then the Result is not nil and
// has all checks. The Result is nil if there is nothing to verify: the error is an *evidence.Error
// if the data cannot be read, or as that of attest.Verifier.
func (v *Verifier) Verify(ctx context.Context, data []byte, policy attest.Policy) (*Result, error) {
	e, err := evidence.Parse(data)
	if err != nil {
		return nil, err
	}
	return v.VerifyParsed(ctx, e, policy)
}

// VerifyParsed is Verify for evidence that the caller has read, for example to see what else is in
// it.
func (v *Verifier) VerifyParsed(ctx context.Context, e *evidence.Evidence, policy attest.Policy) (*Result, error) {
	if e == nil || e.Parsed == nil {
		return nil, errors.New("verify: no evidence: evidence.Parse reads it")
	}
	v.once.Do(func() {
		roots := v.Roots
		if len(roots) == 0 {
			roots = []attest.Root{attest.IntelRoot()}
		}
		v.verifier = attest.NewVerifier(roots...)
	})
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	q, err := Complete(ctx, e.Parsed, v.Certificates)
	if err != nil {
		return nil, err
	}
	r, err := v.verifier.FetchAndVerify(ctx, q, v.Source, policy, now())
	if r == nil {
		return nil, err
	}
	result := &Result{Result: r, Quote: q, Evidence: e.Summary()}
	for _, what := range result.Evidence.NotChecked() {
		r.NotChecked = append(r.NotChecked, attest.Unchecked(what))
	}
	return result, err
}
