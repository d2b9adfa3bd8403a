package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/confcom/confcom/quote"
)

// p256Key returns the public key of a certificate, which must be ECDSA P-256 as all of
// Intel's are.
func p256Key(c *x509.Certificate) (*ecdsa.PublicKey, error) {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("the key of %q is not ECDSA P-256", c.Subject.CommonName)
	}
	return key, nil
}

// authorities are the certificates of the root and of the CA of PCK certificates, and the outcome
// of the checks that do not depend on the time.
type authorities struct {
	intermediate, root *x509.Certificate

	trusted   Root // whose key the root has; empty if there is none
	rootCheck Check
	err       error // of the signatures
}

// check makes the checks.
func (a *authorities) check(roots []Root) {
	var err error
	a.trusted, err = a.findRoot(roots)
	a.rootCheck = newCheck(CheckTrustedRoot, a.trusted.Name, err)
	a.err = a.signatures()
}

// passed reports whether the checks passed.
func (a *authorities) passed() bool { return a.rootCheck.Passed && a.err == nil }

// findRoot returns the trusted root that has the key of the chain's root.
func (a *authorities) findRoot(roots []Root) (Root, error) {
	key, err := p256Key(a.root)
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
		a.root.Subject.CommonName, strings.Join(names, ", "))
}

// signatures checks that the root signs itself and the CA, and that both are allowed to sign.
func (a *authorities) signatures() error {
	if a.trusted.certificate == (certificateID{}) || a.trusted.certificate != sha256.Sum256(a.root.Raw) {
		if err := checkLink(a.root, a.root, 1); err != nil {
			return err
		}
	}
	return checkLink(a.intermediate, a.root, 1)
}

// checkPCKCA is the check of the signatures if there is no PCK certificate.
func (a *authorities) checkPCKCA() Check {
	return newCheck(CheckPCKCA, strconv.Quote(a.intermediate.Subject.CommonName), a.err)
}

// periods returns when the certificates are valid.
func (a *authorities) periods() []period { return []period{periodOf(a.root), periodOf(a.intermediate)} }

// pckChain is the certificate chain of a quote, and the outcome of the checks that do not
// depend on the time.
type pckChain struct {
	*authorities
	leaf *x509.Certificate

	platform *Platform // of the leaf; nil if it could not be read
	checks   []Check
}

// newPCKChain returns the chain of a PCK certificate under authorities that are checked.
func newPCKChain(leaf *x509.Certificate, a *authorities) *pckChain {
	c := &pckChain{authorities: a, leaf: leaf}
	detail := fmt.Sprintf("%q, issued by %q", leaf.Subject.CommonName, a.intermediate.Subject.CommonName)
	signatures := newCheck(CheckPCKChain, detail, c.signatures())
	var platform Check
	c.platform, platform = checkPlatform(leaf)
	c.checks = []Check{a.rootCheck, signatures, platform}
	return c
}

// chainOf returns the certificates of a quote: the PCK certificate, its issuer and the root.
func chainOf(data quote.CertificationData) ([]*x509.Certificate, error) {
	if data.Type != quote.PCKChain {
		return nil, fmt.Errorf("attest: %w: the quote has a %s, want a %s: the attesting machine includes one if its quote provider gets certificates; or pass the PCK certificate", quote.ErrUnsupported, data.Type, quote.PCKChain)
	}
	certificates, err := data.Certificates()
	if err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	return certificates, nil
}

// passed reports whether all checks passed.
func (c *pckChain) passed() bool {
	return !slices.ContainsFunc(c.checks, func(c Check) bool { return !c.Passed })
}

// signatures checks that each certificate is signed by the next one, and that each issuer is
// allowed to sign.
func (c *pckChain) signatures() error {
	if c.authorities.err != nil {
		return c.authorities.err
	}
	if err := checkLink(c.leaf, c.intermediate, 0); err != nil {
		return err
	}
	if c.leaf.IsCA {
		return fmt.Errorf("%q is a CA, not a PCK certificate", c.leaf.Subject.CommonName)
	}
	if c.leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return fmt.Errorf("%q is not allowed to sign: it is not a PCK certificate", c.leaf.Subject.CommonName)
	}
	return nil
}

// checkPlatform reads the SGX extension of a PCK certificate.
func checkPlatform(pck *x509.Certificate) (*Platform, Check) {
	p, err := ParsePlatform(pck)
	if err != nil {
		return nil, newCheck(CheckPlatform, "", err)
	}
	detail := fmt.Sprintf("FMSPC %X, PCE %X, CPUSVN %s, PCE SVN %d", []byte(p.FMSPC), []byte(p.PCEID), p.CPUSVN, p.PCESVN)
	return p, newCheck(CheckPlatform, detail, nil)
}

// checkLink checks that parent issued child and is allowed to, and that parent allows
// below more CAs under it.
func checkLink(child, parent *x509.Certificate, below int) error {
	if err := checkCertificateExtensions(child.Extensions); err != nil {
		return fmt.Errorf("%q has %w", child.Subject.CommonName, err)
	}
	if !bytes.Equal(child.RawIssuer, parent.RawSubject) {
		return fmt.Errorf("%q was issued by %q, but the next certificate is %q", child.Subject.CommonName, child.Issuer.CommonName, parent.Subject.CommonName)
	}
	if !parent.BasicConstraintsValid || !parent.IsCA || parent.KeyUsage&x509.KeyUsageCertSign == 0 {
		return fmt.Errorf("%q is not allowed to sign certificates", parent.Subject.CommonName)
	}
	if parent.MaxPathLen >= 0 && parent.MaxPathLen < below {
		return fmt.Errorf("%q does not allow a chain of this length", parent.Subject.CommonName)
	}
	if child.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		return fmt.Errorf("the signature algorithm of %q is %s, want ECDSA-SHA256", child.Subject.CommonName, child.SignatureAlgorithm)
	}
	if _, err := p256Key(parent); err != nil {
		return err
	}
	if err := child.CheckSignatureFrom(parent); err != nil {
		return fmt.Errorf("%q is not signed by %q: %w", child.Subject.CommonName, parent.Subject.CommonName, err)
	}
	return nil
}

// periods returns when the certificates are valid.
func (c *pckChain) periods() []period { return append(c.authorities.periods(), periodOf(c.leaf)) }
