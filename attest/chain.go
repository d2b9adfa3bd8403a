package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/confcom/confcom/quote"
)

// certificate is one of a PCK chain.
type certificate struct{ *x509.Certificate }

func (c *certificate) name() string { return c.Subject.CommonName }

// key returns the certificate's key, which must be ECDSA P-256 like all of
// Intel's.
func (c *certificate) key() (*ecdsa.PublicKey, error) {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("the key of %q is not ECDSA P-256", c.name())
	}
	return key, nil
}

// pckChain is the certificate chain in a quote.
type pckChain struct {
	leaf, intermediate, root *certificate
}

func newPCKChain(data quote.CertificationData) (*pckChain, error) {
	if data.Type != quote.PCKChain {
		return nil, fmt.Errorf("attest: the quote carries a %s; only a %s can be verified by itself", data.Type, quote.PCKChain)
	}
	certificates, err := data.Certificates()
	if err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	return &pckChain{
		leaf:         &certificate{certificates[0]},
		intermediate: &certificate{certificates[1]},
		root:         &certificate{certificates[2]},
	}, nil
}

// checkRoot: the chain's root has the key of a root that the caller trusts.
func (c *pckChain) checkRoot(roots []Root) (string, error) {
	key, err := c.root.key()
	if err != nil {
		return "", err
	}
	var trusted string
	for i, root := range roots {
		if root.Key.Equal(key) {
			return root.Name, nil
		}
		if i > 0 {
			trusted += ", "
		}
		trusted += fmt.Sprintf("%q", root.Name)
	}
	return "", fmt.Errorf("the chain ends in %q, whose key is not that of a trusted root (%s)", c.root.name(), trusted)
}

// checkSignatures: each certificate is signed by the next, and each signer may
// sign.
func (c *pckChain) checkSignatures() (string, error) {
	for _, link := range []struct {
		child, parent *certificate
		below         int // CA certificates between the parent and the leaf
	}{
		{c.root, c.root, 1},
		{c.intermediate, c.root, 1},
		{c.leaf, c.intermediate, 0},
	} {
		if err := checkLink(link.child, link.parent, link.below); err != nil {
			return "", err
		}
	}
	if c.leaf.IsCA {
		return "", fmt.Errorf("%q is a CA, not a PCK certificate", c.leaf.name())
	}
	return fmt.Sprintf("%q, issued by %q", c.leaf.name(), c.intermediate.name()), nil
}

func checkLink(child, parent *certificate, below int) error {
	if len(child.UnhandledCriticalExtensions) > 0 {
		return fmt.Errorf("%q has a critical extension that is not understood: %s", child.name(), child.UnhandledCriticalExtensions[0])
	}
	if !bytes.Equal(child.RawIssuer, parent.RawSubject) {
		return fmt.Errorf("%q was issued by %q, but %q follows it", child.name(), child.Issuer.CommonName, parent.name())
	}
	if !parent.BasicConstraintsValid || !parent.IsCA || parent.KeyUsage&x509.KeyUsageCertSign == 0 {
		return fmt.Errorf("%q may not sign certificates", parent.name())
	}
	if parent.MaxPathLen >= 0 && parent.MaxPathLen < below {
		return fmt.Errorf("%q may not head a chain of this length", parent.name())
	}
	if child.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		return fmt.Errorf("%q is signed with %s, not ECDSA and SHA-256", child.name(), child.SignatureAlgorithm)
	}
	if err := child.CheckSignatureFrom(parent.Certificate); err != nil {
		return fmt.Errorf("%q is not signed by %q: %w", child.name(), parent.name(), err)
	}
	return nil
}

// checkValidity: at is within the validity of all certificates.
func (c *pckChain) checkValidity(at time.Time) (string, error) {
	var until time.Time
	for _, cert := range []*certificate{c.root, c.intermediate, c.leaf} {
		if at.Before(cert.NotBefore) || at.After(cert.NotAfter) {
			return "", fmt.Errorf("%q is valid from %s to %s, not at %s", cert.name(),
				cert.NotBefore.Format(time.RFC3339), cert.NotAfter.Format(time.RFC3339), at.UTC().Format(time.RFC3339))
		}
		if until.IsZero() || cert.NotAfter.Before(until) {
			until = cert.NotAfter
		}
	}
	return "until " + until.Format(time.RFC3339), nil
}
