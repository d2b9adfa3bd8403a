package attest

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// checkRevocation checks that neither the PCK certificate nor its CA nor the signers of
// TCB info and QE identity are revoked.
func (k *checkedCollateral) checkRevocation(chain *pckChain) Check {
	const detail = "neither the PCK certificate nor its CA nor the signer of TCB info and QE identity is revoked"
	if k.rootCRL == nil || k.pckCRL == nil {
		return newCheck(CheckRevocation, "", errors.New("cannot check revocation: the collateral has no valid root CRL or no valid PCK CRL"))
	}
	err := k.authoritiesRevoked(chain.authorities)
	if err == nil {
		err = k.pckCRL.check(chain.leaf)
	}
	return newCheck(CheckRevocation, detail, err)
}

// checkAuthoritiesRevocation is checkRevocation without a PCK certificate.
func (k *checkedCollateral) checkAuthoritiesRevocation(a *authorities) Check {
	return newCheck(CheckRevocation, "neither the CA nor the signer of TCB info and QE identity is revoked", k.authoritiesRevoked(a))
}

func (k *checkedCollateral) authoritiesRevoked(a *authorities) error {
	for _, signer := range k.signers {
		if err := k.rootCRL.check(signer); err != nil {
			return err
		}
	}
	return k.rootCRL.check(a.intermediate)
}

// crl is a CRL whose signature has been verified.
type crl struct {
	*x509.RevocationList
	revoked map[string]time.Time // by serial number
}

// indexCRL returns a CRL in which certificates can be looked up.
func indexCRL(list *x509.RevocationList) *crl {
	c := &crl{list, make(map[string]time.Time, len(list.RevokedCertificateEntries))}
	for _, entry := range list.RevokedCertificateEntries {
		c.revoked[serialNumber(entry.SerialNumber)] = entry.RevocationTime
	}
	return c
}

// serialNumber returns a serial number as a key: its sign and its bytes.
func serialNumber(n *big.Int) string { return string(append([]byte{byte(n.Sign())}, n.Bytes()...)) }

// check checks that a certificate of the CRL's issuer is not in it.
func (c *crl) check(certificate *x509.Certificate) error {
	at, revoked := c.revoked[serialNumber(certificate.SerialNumber)]
	if !revoked {
		return nil
	}
	return fmt.Errorf("%q, serial number %x, was revoked by its issuer on %s", certificate.Subject.CommonName, certificate.SerialNumber, at.UTC().Format(time.DateOnly))
}

// period returns when the CRL is valid.
func (c *crl) period(what string) period {
	return period{what: what, from: c.ThisUpdate, until: c.NextUpdate}
}

// describe returns the CRL for people.
func (c *crl) describe() string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf("issued by %q, revoked certificates: %d", c.Issuer.CommonName, len(c.RevokedCertificateEntries))
}

// signedCRL is a CRL before its content is read.
type signedCRL struct {
	TBS       asn1.RawValue // what is signed
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

// crlHead is the content of a CRL up to its issuer.
type crlHead struct {
	Version   int
	Algorithm pkix.AlgorithmIdentifier
	Issuer    asn1.RawValue
}

// parseCRL reads the certificate revocation list of an issuer. It reads the entries after it
// has verified the signature: there may be millions, and they are untrusted input until then.
func parseCRL(der []byte, issuer *x509.Certificate) (*x509.RevocationList, error) {
	var signed signedCRL
	if err := unmarshal(der, &signed); err != nil {
		return nil, err
	}
	if err := signed.verify(issuer); err != nil {
		return nil, err
	}
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(crl.RawTBSRevocationList, signed.TBS.FullBytes) {
		return nil, errors.New("it is not in canonical form (DER)")
	}
	if crl.NextUpdate.IsZero() {
		return nil, errors.New("nextUpdate is missing")
	}
	if err := checkCRLExtensions(crl); err != nil {
		return nil, err
	}
	return crl, nil
}

// verify checks the issuer and the signature.
func (s *signedCRL) verify(issuer *x509.Certificate) error {
	var head crlHead
	if _, err := asn1.Unmarshal(s.TBS.FullBytes, &head); err != nil { // it ignores what follows the head
		return err
	}
	if !bytes.Equal(head.Issuer.FullBytes, issuer.RawSubject) {
		return fmt.Errorf("it is not issued by %q", issuer.Subject.CommonName)
	}
	if !issuer.BasicConstraintsValid || !issuer.IsCA || issuer.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return fmt.Errorf("%q is not allowed to sign CRLs", issuer.Subject.CommonName)
	}
	if _, err := p256Key(issuer); err != nil {
		return err
	}
	if !s.Algorithm.Algorithm.Equal(ecdsaWithSHA256()) {
		return fmt.Errorf("the signature algorithm is %s, want ECDSA-SHA256 (%s)", s.Algorithm.Algorithm, ecdsaWithSHA256())
	}
	if err := issuer.CheckSignature(x509.ECDSAWithSHA256, s.TBS.FullBytes, s.Signature.RightAlign()); err != nil {
		return fmt.Errorf("signature verification failed with the key of %q: %w", issuer.Subject.CommonName, err)
	}
	return nil
}

// ecdsaWithSHA256 returns the OID of the signature algorithm (RFC 5758, section 3.2).
func ecdsaWithSHA256() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2} }
