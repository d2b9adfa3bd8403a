package attest

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// checkRevocation checks that neither the PCK certificate nor its CA nor the signers of
// TCB info and QE identity are revoked.
func (k *checkedCollateral) checkRevocation(chain *pckChain) Check {
	const detail = "neither the PCK certificate nor its CA nor the signer of TCB info and QE identity is revoked"
	if k.rootCRL == nil || k.pckCRL == nil {
		return newCheck(CheckRevocation, "", errors.New("cannot check revocation: the collateral has no valid root CRL or no valid PCK CRL"))
	}
	err := k.authoritiesRevoked(chain)
	if err == nil {
		err = checkRevoked(k.pckCRL, chain.leaf)
	}
	return newCheck(CheckRevocation, detail, err)
}

// checkAuthoritiesRevocation is checkRevocation without a PCK certificate.
func (k *checkedCollateral) checkAuthoritiesRevocation(chain *pckChain) Check {
	return newCheck(CheckRevocation, "neither the CA nor the signer of TCB info and QE identity is revoked", k.authoritiesRevoked(chain))
}

func (k *checkedCollateral) authoritiesRevoked(chain *pckChain) error {
	// The signers are shared by the cache, so they must not be appended to.
	return checkRevoked(k.rootCRL, slices.Concat(k.signers, []*x509.Certificate{chain.intermediate})...)
}

// checkRevoked checks that none of the certificates is in its issuer's CRL.
func checkRevoked(crl *x509.RevocationList, certificates ...*x509.Certificate) error {
	for _, entry := range crl.RevokedCertificateEntries {
		for _, c := range certificates {
			if entry.SerialNumber.Cmp(c.SerialNumber) == 0 {
				return fmt.Errorf("%q, serial number %x, was revoked by its issuer on %s", c.Subject.CommonName, c.SerialNumber,
					entry.RevocationTime.UTC().Format(time.DateOnly))
			}
		}
	}
	return nil
}

// parseCRL reads the certificate revocation list of an issuer and verifies its signature.
func parseCRL(der []byte, issuer *x509.Certificate) (*x509.RevocationList, error) {
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	if len(crl.Raw) != len(der) {
		return nil, fmt.Errorf("%d bytes after the CRL", len(der)-len(crl.Raw))
	}
	if !bytes.Equal(crl.RawIssuer, issuer.RawSubject) {
		return nil, fmt.Errorf("the issuer is %q, want %q", crl.Issuer.CommonName, issuer.Subject.CommonName)
	}
	if crl.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		return nil, fmt.Errorf("the signature algorithm is %s, want ECDSA-SHA256", crl.SignatureAlgorithm)
	}
	if err := crl.CheckSignatureFrom(issuer); err != nil {
		return nil, fmt.Errorf("signature verification failed with the key of %q: %w", issuer.Subject.CommonName, err)
	}
	if crl.NextUpdate.IsZero() {
		return nil, errors.New("nextUpdate is missing")
	}
	if err := checkExtensions(crl.Extensions); err != nil {
		return nil, err
	}
	for _, entry := range crl.RevokedCertificateEntries {
		if err := checkExtensions(entry.Extensions); err != nil {
			return nil, err
		}
	}
	return crl, nil
}

// checkExtensions refuses critical extensions other than CRL number and authority key
// identifier: they change the meaning of a CRL, for example to a list of the changes only
// (RFC 5280, section 5.2).
func checkExtensions(extensions []pkix.Extension) error {
	for _, e := range extensions {
		if e.Critical && !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 20}) && !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 35}) {
			return fmt.Errorf("unknown critical extension %s", e.Id)
		}
	}
	return nil
}

// crlPeriod returns when a CRL is valid.
func crlPeriod(what string, crl *x509.RevocationList) period {
	return period{what: what, from: crl.ThisUpdate, until: crl.NextUpdate}
}

func describeCRL(crl *x509.RevocationList) string {
	if crl == nil {
		return ""
	}
	return fmt.Sprintf("issued by %q, revoked certificates: %d", crl.Issuer.CommonName, len(crl.RevokedCertificateEntries))
}
