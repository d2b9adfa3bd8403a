package ratls

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/confcom/confcom/evidence"
)

// checkCertificate checks that a certificate is signed with its own key and valid at a time. It
// returns what was found, for people.
func checkCertificate(c *x509.Certificate, at time.Time) (detail string, err error) {
	// x509.Certificate.CheckSignatureFrom wants a CA, which these certificates are not.
	if !bytes.Equal(c.RawIssuer, c.RawSubject) {
		return "", fmt.Errorf("issued by %q for %q, want a self-signed certificate", c.Issuer, c.Subject)
	}
	if err := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
		return "", fmt.Errorf("signature with its own key: %w", err)
	}
	switch {
	case at.Before(c.NotBefore):
		return "", fmt.Errorf("valid from %s, not yet at %s: compare the clocks", stamp(c.NotBefore), stamp(at))
	case at.After(c.NotAfter):
		return "", fmt.Errorf("valid until %s, expired at %s", stamp(c.NotAfter), stamp(at))
	}
	for _, oid := range c.UnhandledCriticalExtensions {
		if !evidence.IsExtension(oid) {
			return "", fmt.Errorf("critical extension %s is unknown", oid)
		}
	}
	return "self-signed, valid until " + stamp(c.NotAfter), nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
