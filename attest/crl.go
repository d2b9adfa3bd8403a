package attest

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
)

// parseCRL reads a revocation list of an issuer, and checks that it is his.
func parseCRL(der []byte, issuer *x509.Certificate) (*x509.RevocationList, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	if len(list.Raw) != len(der) {
		return nil, fmt.Errorf("there are %d bytes behind it", len(der)-len(list.Raw))
	}
	if !bytes.Equal(list.RawIssuer, issuer.RawSubject) {
		return nil, fmt.Errorf("it is of %q, not of %q", list.Issuer.CommonName, issuer.Subject.CommonName)
	}
	if list.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		return nil, fmt.Errorf("it is signed with %s, not ECDSA and SHA-256", list.SignatureAlgorithm)
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return nil, fmt.Errorf("it is not signed by %q: %w", issuer.Subject.CommonName, err)
	}
	if list.NextUpdate.IsZero() {
		return nil, errors.New("it does not say until when it is valid")
	}
	if err := understood(list.Extensions); err != nil {
		return nil, err
	}
	for _, entry := range list.RevokedCertificateEntries {
		if err := understood(entry.Extensions); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// understood refuses critical extensions that change what a list means, such as
// that it has the changes only (RFC 5280, section 5.2).
func understood(extensions []pkix.Extension) error {
	for _, e := range extensions {
		if e.Critical && !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 20}) && !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 35}) {
			return fmt.Errorf("it has a critical extension that is not understood: %s", e.Id)
		}
	}
	return nil
}

// checkRevoked refuses certificates that are in their issuer's list.
func checkRevoked(list *x509.RevocationList, certificates ...*x509.Certificate) error {
	for _, entry := range list.RevokedCertificateEntries {
		for _, c := range certificates {
			if entry.SerialNumber.Cmp(c.SerialNumber) == 0 {
				return fmt.Errorf("%q with the serial number %x was revoked by its issuer on %s", c.Subject.CommonName, c.SerialNumber,
					entry.RevocationTime.UTC().Format("2006-01-02"))
			}
		}
	}
	return nil
}
