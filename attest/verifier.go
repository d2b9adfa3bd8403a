package attest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/confcom/confcom/quote"
)

// Verifier judges quotes. It keeps what it has checked of certificate chains and
// collateral, so that the next quote of the same platform costs its own two
// signatures only. It is safe for concurrent use.
type Verifier struct {
	roots []Root

	mu         sync.Mutex
	chains     map[digest]*pckChain
	collateral map[digest]*checked
}

// digest is the SHA-256 of what was checked.
type digest [sha256.Size]byte

// How much is kept at most.
const (
	maxChains     = 1000
	maxCollateral = 50
)

// NewVerifier returns a verifier that trusts these roots and no other: IntelRoot for
// genuine platforms.
func NewVerifier(roots ...Root) *Verifier {
	return &Verifier{roots: slices.Clone(roots), chains: make(map[digest]*pckChain), collateral: make(map[digest]*checked)}
}

// Verify judges a quote by collateral, as of a time. The error is nil just when the
// quote is trusted. It wraps ErrNotTrusted where it is not, and ErrIncomplete where
// nothing is wrong, but not all could be looked at: without collateral (nil), or
// with a quote of a trust domain. Then the Result says what was found. Without a
// Result there was nothing to judge: the quote carries no certificate chain, or one
// that cannot be read, or the arguments make no sense.
func (v *Verifier) Verify(q *quote.Quote, c *Collateral, policy Policy, at time.Time) (*Result, error) {
	if err := v.checkArguments(c, policy, at); err != nil {
		return nil, err
	}
	chain, err := v.chain(q.Signature.CertificationData)
	if err != nil {
		return nil, err
	}
	r := &Result{Root: chain.trusted.Name, Platform: chain.platform.clone(), Checks: slices.Clone(chain.checks), Expires: earliest(chain.periods())}
	detail, err := checkPeriods(chain.periods(), at, 0)
	r.add("certificates valid", detail, err)

	var k *checked
	switch {
	case q.TD != nil:
		r.NotChecked = append(r.NotChecked, "TCB level and TDX module: quotes of trust domains are not judged here")
		r.incomplete = true
	case c == nil:
		r.NotChecked = append(r.NotChecked, "revocation of the certificates", "TCB level of the platform, version of the quoting enclave")
		r.incomplete = true
	default:
		k = v.checked(c, chain)
		r.Checks = append(r.Checks, k.checks...)
		r.add("revocation", "neither the PCK certificate nor its CA nor the signer of TCB info and identity is revoked", k.checkRevocation(chain))
		checkCollateralPeriods(r, k, policy, at)
	}

	checkQuotingEnclave(r, q, chain, k)
	checkQuote(r, q)
	if k != nil {
		checkTCB(r, q, chain.platform, k, policy)
		policy.checkEvaluation(r)
	}
	detail, err = checkDebug(q, policy.AllowDebug)
	r.add("debug mode", detail, err)
	if chain.platform != nil {
		policy.checkPlatform(r, chain.platform)
	}
	if q.Enclave != nil {
		policy.checkEnclave(r, q.Enclave)
	}
	policy.checkReportData(r, q.ReportData())
	r.Trusted = r.passed() && !r.incomplete
	return r, r.Err()
}

func (v *Verifier) checkArguments(c *Collateral, policy Policy, at time.Time) error {
	if at.IsZero() {
		return errors.New("attest: there is no time as of which to judge: nothing is valid then")
	}
	if len(v.roots) == 0 {
		return errors.New("attest: nobody is trusted: IntelRoot is the root of genuine platforms")
	}
	for _, root := range v.roots {
		if root.Key == nil {
			return fmt.Errorf("attest: the root %q has no key", root.Name)
		}
	}
	if c != nil {
		if err := c.check(); err != nil {
			return err
		}
	}
	return policy.check()
}

// chain returns the chain in a quote, checked.
func (v *Verifier) chain(data quote.CertificationData) (*pckChain, error) {
	key := digest(sha256.Sum256(data.Data))
	if chain := kept(v, v.chains, key); chain != nil && data.Type == quote.PCKChain {
		return chain, nil
	}
	chain, err := newPCKChain(data)
	if err != nil {
		return nil, err
	}
	if chain.check(v.roots) {
		keep(v, v.chains, key, chain, maxChains)
	}
	return chain, nil
}

// checked returns collateral for a chain, checked.
func (v *Verifier) checked(c *Collateral, chain *pckChain) *checked {
	hash := sha256.New()
	for _, part := range [][]byte{
		chain.root.Raw, chain.intermediate.Raw, c.RootCRL, c.PCKCRL,
		[]byte(c.TCBInfo), c.TCBInfoSignature[:], []byte(c.TCBInfoIssuerChain),
		[]byte(c.QEIdentity), c.QEIdentitySignature[:], []byte(c.QEIdentityIssuerChain),
	} {
		hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(part))))
		hash.Write(part)
	}
	key := digest(hash.Sum(nil))
	if k := kept(v, v.collateral, key); k != nil {
		return k
	}
	k := new(checked)
	if k.check(c, chain) {
		keep(v, v.collateral, key, k, maxCollateral)
	}
	return k
}

// kept returns what is kept under a key, or nil.
func kept[T any](v *Verifier, m map[digest]*T, key digest) *T {
	v.mu.Lock()
	defer v.mu.Unlock()
	return m[key]
}

// keep keeps what has passed all checks. When there is too much, any other goes.
func keep[T any](v *Verifier, m map[digest]*T, key digest, value *T, most int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(m) >= most {
		for other := range m {
			delete(m, other)
			break
		}
	}
	m[key] = value
}
