package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/confcom/confcom/quote"
)

// p256Key returns the key of a certificate, which must be ECDSA P-256 like all of
// Intel's.
func p256Key(c *x509.Certificate) (*ecdsa.PublicKey, error) {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("the key of %q is not ECDSA P-256", c.Subject.CommonName)
	}
	return key, nil
}

// pckChain is the certificate chain in a quote, and what was found of it that does
// not change with time.
type pckChain struct {
	leaf, intermediate, root *x509.Certificate

	trusted  Root      // that heads it; empty where none does
	platform *Platform // nil where the leaf does not tell
	checks   []Check
}

func newPCKChain(data quote.CertificationData) (*pckChain, error) {
	if data.Type != quote.PCKChain {
		return nil, fmt.Errorf("attest: the quote carries a %s; only a %s can be verified by itself", data.Type, quote.PCKChain)
	}
	certificates, err := data.Certificates()
	if err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	return &pckChain{leaf: certificates[0], intermediate: certificates[1], root: certificates[2]}, nil
}

// check makes the checks that do not depend on the time, and tells whether all of
// them have passed.
func (c *pckChain) check(roots []Root) bool {
	var found Result
	var err error
	c.trusted, err = c.checkRoot(roots)
	found.add("trusted root", c.trusted.Name, err)
	detail, err := c.checkSignatures()
	found.add("PCK certificate chain", detail, err)
	c.platform, err = ParsePlatform(c.leaf)
	if err == nil {
		detail = fmt.Sprintf("FMSPC %X, PCE %X, CPUSVN %s, PCE SVN %d", []byte(c.platform.FMSPC), []byte(c.platform.PCEID), c.platform.CPUSVN, c.platform.PCESVN)
	}
	found.add("platform", detail, err)
	c.checks = found.Checks
	return found.passed()
}

// checkRoot returns the root that the caller trusts and that has the key of the
// chain's root.
func (c *pckChain) checkRoot(roots []Root) (Root, error) {
	key, err := p256Key(c.root)
	if err != nil {
		return Root{}, err
	}
	var names []string
	for _, root := range roots {
		if root.Key.Equal(key) {
			return root, nil
		}
		names = append(names, strconv.Quote(root.Name))
	}
	return Root{}, fmt.Errorf("the chain ends in %q, whose key is not that of a trusted root (%s)",
		c.root.Subject.CommonName, strings.Join(names, ", "))
}

// checkAuthorities: the root signs itself and the CA, and both may sign.
func (c *pckChain) checkAuthorities() (string, error) {
	if err := checkLink(c.root, c.root, 1); err != nil {
		return "", err
	}
	return strconv.Quote(c.intermediate.Subject.CommonName), checkLink(c.intermediate, c.root, 1)
}

// checkSignatures: each certificate is signed by the next, and each signer may
// sign.
func (c *pckChain) checkSignatures() (string, error) {
	if _, err := c.checkAuthorities(); err != nil {
		return "", err
	}
	if err := checkLink(c.leaf, c.intermediate, 0); err != nil {
		return "", err
	}
	if c.leaf.IsCA {
		return "", fmt.Errorf("%q is a CA, not a PCK certificate", c.leaf.Subject.CommonName)
	}
	if c.leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return "", fmt.Errorf("%q may not sign: it is not a PCK certificate", c.leaf.Subject.CommonName)
	}
	return fmt.Sprintf("%q, issued by %q", c.leaf.Subject.CommonName, c.intermediate.Subject.CommonName), nil
}

func checkLink(child, parent *x509.Certificate, below int) error {
	if len(child.UnhandledCriticalExtensions) > 0 {
		return fmt.Errorf("%q has a critical extension that is not understood: %s", child.Subject.CommonName, child.UnhandledCriticalExtensions[0])
	}
	if !bytes.Equal(child.RawIssuer, parent.RawSubject) {
		return fmt.Errorf("%q was issued by %q, but %q follows it", child.Subject.CommonName, child.Issuer.CommonName, parent.Subject.CommonName)
	}
	if !parent.BasicConstraintsValid || !parent.IsCA || parent.KeyUsage&x509.KeyUsageCertSign == 0 {
		return fmt.Errorf("%q may not sign certificates", parent.Subject.CommonName)
	}
	if parent.MaxPathLen >= 0 && parent.MaxPathLen < below {
		return fmt.Errorf("%q may not head a chain of this length", parent.Subject.CommonName)
	}
	if child.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		return fmt.Errorf("%q is signed with %s, not ECDSA and SHA-256", child.Subject.CommonName, child.SignatureAlgorithm)
	}
	if _, err := p256Key(parent); err != nil {
		return err
	}
	if err := child.CheckSignatureFrom(parent); err != nil {
		return fmt.Errorf("%q is not signed by %q: %w", child.Subject.CommonName, parent.Subject.CommonName, err)
	}
	return nil
}

// periods are when the certificates are valid.
func (c *pckChain) periods() []period {
	return []period{periodOf(c.root), periodOf(c.intermediate), periodOf(c.leaf)}
}

// period is from when to when something is valid.
type period struct {
	what        string
	from, until time.Time
}

func periodOf(c *x509.Certificate) period {
	return period{strconv.Quote(c.Subject.CommonName), c.NotBefore, c.NotAfter}
}

// skew is how far the clocks of those who issue and of those who verify may be
// apart.
const skew = 24 * time.Hour

// checkPeriods: all is valid at a time. The detail says until when.
func checkPeriods(periods []period, at time.Time, skew time.Duration) (string, error) {
	for _, p := range periods {
		if at.Before(p.from.Add(-skew)) || at.After(p.until) {
			return "", fmt.Errorf("%s is valid from %s to %s, not at %s", p.what,
				p.from.UTC().Format(time.RFC3339), p.until.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
		}
	}
	return "until " + earliest(periods).UTC().Format(time.RFC3339), nil
}

// earliest is when the first of them ends.
func earliest(periods []period) time.Time {
	return slices.MinFunc(periods, func(a, b period) int { return a.until.Compare(b.until) }).until
}
