package attest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/confcom/confcom/quote"
)

// Verifier verifies quotes and appraises them by a policy. It remembers the certificate
// chains and collateral that it has checked, so that verifying another quote of the same
// platform costs two signature verifications. It is safe for concurrent use.
type Verifier struct {
	roots      []Root
	chains     cache[pckChain]
	collateral cache[checkedCollateral]
}

// NewVerifier returns a verifier that trusts these roots and no others. Pass IntelRoot()
// to verify genuine platforms.
func NewVerifier(roots ...Root) *Verifier {
	return &Verifier{
		roots:      slices.Clone(roots),
		chains:     cache[pckChain]{limit: 1000},
		collateral: cache[checkedCollateral]{limit: 50},
	}
}

// Verify verifies a quote with collateral, as of a time, and appraises it by a policy.
//
// The error is nil if and only if the quote is trusted. It is a *CheckError, which wraps
// ErrNotTrusted, if a check failed. It wraps ErrIncomplete if no check failed but
// something could not be checked because there was no collateral (nil). In these cases the
// Result is not nil and has all checks.
//
// The Result is nil if there was nothing to verify: the quote has no certificate chain (the
// error wraps quote.ErrUnsupported), the chain or the collateral cannot be parsed, or an
// argument is invalid.
func (v *Verifier) Verify(q *quote.Quote, c *Collateral, policy Policy, at time.Time) (*Result, error) {
	if err := v.checkArguments(c, policy, at); err != nil {
		return nil, err
	}
	if (q.Enclave == nil) == (q.TD == nil) {
		return nil, errors.New("attest: the quote must have a report body of an enclave or of a trust domain")
	}
	chain, err := v.cachedChain(q.Signature.CertificationData)
	if err != nil {
		return nil, err
	}
	certificates := chain.periods()
	r := &Result{Root: chain.trusted.Name, Platform: chain.platform.clone(), Checks: make([]Check, 0, usualChecks), Expires: earliest(certificates)}
	r.add(chain.checks...)
	r.add(checkCertificatesValid(certificates, at))

	var k *checkedCollateral
	if c == nil {
		r.omit(UncheckedRevocation, UncheckedTCB)
	} else {
		k = v.cachedCollateral(c, chain)
		r.add(k.checks...)
		r.add(k.checkRevocation(chain))
		r.addCollateralPeriods(k, policy, at)
		if _, ok := k.tee(); ok {
			r.add(k.checkTEE(teeOf(q)))
		}
		if k.tcbInfo != nil && chain.platform != nil {
			r.add(k.checkPlatform(chain.platform))
		}
	}

	r.add(checkQEReport(q, chain.leaf))
	if check, ok := checkQuotingEnclave(q, chain, k); ok {
		r.add(check)
	} else {
		r.omit(UncheckedQuotingEnclave)
	}
	r.add(checkKeyBinding(q), checkQuoteSignature(q), checkQEVendor(q.Header.VendorID))
	switch {
	case q.TD != nil && k != nil:
		r.add(k.checkTDXModule(q.TD))
	case q.TD != nil:
		r.omit(UncheckedTDXModule)
	}
	if k != nil {
		tcb, err := k.tcbLevel(q, chain.platform)
		r.Status, r.TCBDate, r.Advisories, r.EvaluationDataNumber = tcb.status, tcb.date, tcb.advisories, tcb.evaluationDataNumber
		r.add(policy.appraiseTCB(tcb, err)...)
	}
	r.add(policy.appraiseDebugMode(q))
	if chain.platform != nil {
		r.add(policy.appraisePlatform(chain.platform)...)
	}
	if q.TD != nil || policy.TrustDomain != nil {
		r.add(policy.appraiseTEE(q))
	}
	checks, unchecked := policy.appraiseIdentity(q)
	r.add(checks...)
	r.omit(unchecked...)
	if policy.ReportData != nil {
		r.add(policy.appraiseReportData(q.ReportData()))
	} else {
		r.omit(UncheckedReportData)
	}
	r.Trusted = r.passed() && !r.incomplete()
	return r, r.Err()
}

// Check checks collateral without a quote, as of a time: that a trusted root is at the
// head of all its chains, that everything in it is signed and valid, and that TCB info and
// QE identity are for the same TEE. It does not check for which platforms the collateral
// is. The error is like that of Verify; the Result is
// nil if the collateral cannot be parsed.
func (v *Verifier) Check(c *Collateral, at time.Time) (*Result, error) {
	if err := v.checkArguments(c, Policy{}, at); err != nil {
		return nil, err
	}
	chain, err := newCAChain(c)
	if err != nil {
		return nil, err
	}
	trusted, check := chain.checkRoot(v.roots)
	certificates := []period{periodOf(chain.root), periodOf(chain.intermediate)}
	r := &Result{Root: trusted.Name, Expires: earliest(certificates)}
	r.add(check, chain.checkAuthorities(), checkCertificatesValid(certificates, at))

	k := checkCollateral(c, chain)
	r.add(k.checks...)
	if k.rootCRL != nil {
		r.add(k.checkAuthoritiesRevocation(chain))
	}
	r.addCollateralPeriods(k, Policy{}, at)
	if tee, ok := k.tee(); ok {
		r.add(k.checkTEE(tee))
	}
	r.EvaluationDataNumber = k.evaluationDataNumber()
	r.Trusted = r.passed()
	err = r.Err()
	if failed, ok := errors.AsType[*CheckError](err); ok {
		failed.collateralOnly = true
	}
	return r, err
}

// usualChecks is at least the number of checks with a policy that requires little: Result.Checks
// does not grow.
const usualChecks = 24

// addCollateralPeriods records whether collateral is valid and recent enough, and when
// it expires.
func (r *Result) addCollateralPeriods(k *checkedCollateral, policy Policy, at time.Time) {
	periods := k.periods()
	if len(periods) == 0 {
		return // none of it could be read: those checks failed
	}
	if first := earliest(policy.accepted(periods)); first.Before(r.Expires) {
		r.Expires = first
	}
	for _, part := range periods {
		if part.aging && (r.CollateralIssued.IsZero() || part.from.Before(r.CollateralIssued)) {
			r.CollateralIssued = part.from
		}
	}
	r.add(checkCollateralValid(periods, policy, at))
	if policy.MaxCollateralAge != 0 {
		r.add(policy.appraiseAge(k, at))
	}
}

func (v *Verifier) checkArguments(c *Collateral, policy Policy, at time.Time) error {
	if at.IsZero() {
		return errors.New("attest: no time of verification: nothing is valid at the zero time")
	}
	if len(v.roots) == 0 {
		return errors.New("attest: no trusted roots: pass IntelRoot() to verify genuine platforms")
	}
	for _, root := range v.roots {
		if root.Key == nil {
			return fmt.Errorf("attest: trusted root %q has no key", root.Name)
		}
	}
	if c != nil {
		if err := c.check(); err != nil {
			return err
		}
	}
	return policy.check()
}
