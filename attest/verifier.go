package attest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/confcom/confcom/quote"
)

// Verifier verifies quotes and appraises them by a policy. It remembers the certificate
// chains and the parts of collateral that it has checked: a quote of a platform that it has seen
// costs two signature verifications, and one of another platform three. It is safe for concurrent
// use.
type Verifier struct {
	roots  []Root
	memory *memory
}

// NewVerifier returns a verifier that trusts these roots and no others. Pass IntelRoot()
// to verify genuine platforms.
func NewVerifier(roots ...Root) *Verifier {
	return &Verifier{roots: slices.Clone(roots), memory: newMemory()}
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
	p, err := v.prove(q, at)
	if err != nil {
		return nil, err
	}
	return v.appraise(p, c, policy, at)
}

// FetchAndVerify is Verify with collateral from a source. It gets it only if the quote is
// proven otherwise: strangers can neither choose what is requested, nor cause a request with
// certificates and signatures that are not genuine.
//
// If there is no collateral, the error wraps ErrIncomplete and that of the source. A nil source
// has none.
func (v *Verifier) FetchAndVerify(ctx context.Context, q *quote.Quote, source Source, policy Policy, at time.Time) (*Result, error) {
	if err := v.checkArguments(nil, policy, at); err != nil {
		return nil, err
	}
	p, err := v.prove(q, at)
	if err != nil {
		return nil, err
	}
	if source == nil || !p.passed() {
		return v.appraise(p, nil, policy, at)
	}
	c, missing := p.fetch(ctx, source)
	r, err := v.appraise(p, c, policy, at)
	if missing != nil && errors.Is(err, ErrIncomplete) {
		r.missing = missing
		err = r.Err()
	}
	return r, err
}

// fetch gets the collateral of the platform from a source.
func (p *proof) fetch(ctx context.Context, source Source) (*Collateral, error) {
	family, err := p.chain.family(teeOf(p.quote))
	if err != nil {
		return nil, err
	}
	c, err := source.CollateralFor(ctx, family)
	if err == nil && c == nil {
		err = errors.New("attest: the source has no collateral")
	}
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// proof is the part of a verification that needs no collateral and no policy: a genuine
// platform signed the quote.
type proof struct {
	quote        *quote.Quote
	chain        *pckChain
	certificates Check // whether they are valid at the time of verification
	qeReport     Check
	signatures   []Check // of the attestation key and the quote
}

// prove makes the checks of the proof of a quote.
func (v *Verifier) prove(q *quote.Quote, at time.Time) (*proof, error) {
	if q == nil || (q.Enclave == nil) == (q.TD == nil) {
		return nil, errors.New("attest: the quote must have a report body of an enclave or of a trust domain")
	}
	chain, err := v.memory.chain(q.Signature.CertificationData, v.roots)
	if err != nil {
		return nil, err
	}
	return &proof{
		quote: q, chain: chain,
		certificates: checkCertificatesValid(chain.periods(), at),
		qeReport:     checkQEReport(q, chain.leaf),
		signatures:   []Check{checkKeyBinding(q), checkQuoteSignature(q), checkQEVendor(q.Header.VendorID)},
	}, nil
}

// passed reports whether all checks of the proof passed.
func (p *proof) passed() bool {
	quotingEnclave, known := checkQuotingEnclave(p.quote, p.chain, nil)
	checks := append(slices.Concat(p.chain.checks, p.signatures), p.certificates, p.qeReport)
	if known {
		checks = append(checks, quotingEnclave)
	}
	return !slices.ContainsFunc(checks, func(c Check) bool { return !c.Passed })
}

// appraise completes a verification, with collateral or without (nil).
func (v *Verifier) appraise(p *proof, c *Collateral, policy Policy, at time.Time) (*Result, error) {
	q, chain := p.quote, p.chain
	r := &Result{Root: chain.trusted.Name, Platform: chain.platform.clone(), Checks: make([]Check, 0, usualChecks), Expires: earliest(chain.periods())}
	r.add(chain.checks...)
	r.add(p.certificates)

	var k *checkedCollateral
	if c == nil {
		r.omit(UncheckedRevocation, UncheckedTCB)
	} else {
		k = v.memory.under(chain.authorities).collateral(c, chain.authorities)
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

	r.add(p.qeReport)
	if check, ok := checkQuotingEnclave(q, chain, k); ok {
		r.add(check)
	} else {
		r.omit(UncheckedQuotingEnclave)
	}
	r.add(p.signatures...)
	switch {
	case q.TD != nil && k != nil:
		r.add(k.checkTDXModule(q.TD))
	case q.TD != nil:
		r.omit(UncheckedTDXModule)
	}
	if k != nil {
		tcb, err := k.tcbLevel(q, chain.platform)
		r.Status, r.TCBDate, r.Advisories, r.EvaluationDataNumber = tcb.status, tcb.date, tcb.advisories, tcb.evaluationDataNumber
		r.Short = tcb.short
		r.add(policy.appraiseTCB(tcb, err)...)
	}
	r.add(policy.appraiseDebugMode(q))
	if chain.platform != nil {
		r.add(policy.appraisePlatform(chain.platform)...)
	}
	if q.TD != nil && !policy.acceptsNobody() || policy.TrustDomain != nil {
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
	a, err := authoritiesOf(c)
	if err != nil {
		return nil, err
	}
	a.check(v.roots)
	certificates := a.periods()
	r := &Result{Root: a.trusted.Name, Expires: earliest(certificates)}
	r.add(a.rootCheck, a.checkPCKCA(), checkCertificatesValid(certificates, at))

	k := v.memory.under(a).collateral(c, a)
	r.add(k.checks...)
	if k.rootCRL != nil {
		r.add(k.checkAuthoritiesRevocation(a))
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
const usualChecks = 48

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
