package attesttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/confcom/confcom/quote"
)

// Label is at the start of the name of every certificate.
const Label = "SIMULATED (NOT INTEL) "

// The names of the certificates contain the names of Intel's, which verifiers look for.
const (
	organization  = "Simulated SGX Platform - Not Intel"
	rootName      = Label + "SGX Root CA"
	processorName = Label + "SGX PCK Processor CA"
	platformName  = Label + "SGX PCK Platform CA"
	pckName       = Label + "SGX PCK Certificate"
	tcbName       = Label + "SGX TCB Signing"
)

// Authority is the template of a certificate and its key. The template can be changed until
// the certificate is issued.
type Authority struct {
	Template *x509.Certificate
	Key      *ecdsa.PrivateKey
}

// noCA is the path length of a certificate that issues no others.
const noCA = -1

// newAuthority returns the template of a certificate, which has the five extensions of
// Intel's certificates because verifiers insist on them. Key and serial number are derived
// from owner.
func newAuthority(name, owner string, usage x509.KeyUsage, pathLength int) (Authority, error) {
	key, err := deriveKey(owner)
	if err != nil {
		return Authority{}, err
	}
	keyID, err := subjectKeyID(&key.PublicKey)
	if err != nil {
		return Authority{}, err
	}
	return Authority{Key: key, Template: &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(append([]byte{1}, derive(18, "serial number of "+strings.TrimPrefix(owner, "key of "))...)),
		Subject:               pkix.Name{CommonName: name, Organization: []string{organization}},
		NotBefore:             time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC),
		SignatureAlgorithm:    x509.ECDSAWithSHA256,
		BasicConstraintsValid: true,
		IsCA:                  pathLength != noCA,
		MaxPathLen:            max(pathLength, 0),
		MaxPathLenZero:        pathLength == 0,
		KeyUsage:              usage,
		SubjectKeyId:          keyID,
		AuthorityKeyId:        keyID,
		CRLDistributionPoints: []string{"https://simulated.invalid/crl.der"},
	}}, nil
}

// Issue signs the certificate of child, which may be a itself. The same arguments give the
// same bytes.
func (a Authority) Issue(child Authority) (*x509.Certificate, error) {
	// Without a source of randomness, ECDSA is deterministic (RFC 6979).
	der, err := x509.CreateCertificate(nil, child.Template, a.Template, &child.Key.PublicKey, a.Key)
	if err != nil {
		return nil, fmt.Errorf("attesttest: issue certificate %q: %w", child.Template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

// SignCRL signs a certificate revocation list and returns it in DER. The same arguments give
// the same bytes.
func (a Authority) SignCRL(list *x509.RevocationList) ([]byte, error) {
	der, err := x509.CreateRevocationList(nil, list, a.Template, a.Key)
	if err != nil {
		return nil, fmt.Errorf("attesttest: sign CRL of %q: %w", a.Template.Subject.CommonName, err)
	}
	return der, nil
}

// Sign signs data as the function Sign does.
func (a Authority) Sign(data []byte) (quote.Signature, error) { return Sign(a.Key, data) }

func subjectKeyID(key *ecdsa.PublicKey) ([]byte, error) {
	point, err := key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("attesttest: encode public key: %w", err)
	}
	sum := sha256.Sum256(point)
	return sum[:20], nil
}

// Sign returns the ECDSA P-256 signature of the SHA-256 of data in the form that quotes and
// collateral have. It is deterministic (RFC 6979).
func Sign(key *ecdsa.PrivateKey, data []byte) (quote.Signature, error) {
	digest := sha256.Sum256(data)
	der, err := key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return quote.Signature{}, fmt.Errorf("attesttest: sign: %w", err)
	}
	var s struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &s); err != nil {
		return quote.Signature{}, fmt.Errorf("attesttest: sign: %w", err)
	}
	var signature quote.Signature
	s.R.FillBytes(signature[:32])
	s.S.FillBytes(signature[32:])
	return signature, nil
}
