package simulated

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

// Names of the certificates. They contain the names of Intel's, which verifiers
// look for, behind a label that no one can miss.
const (
	label        = "SIMULATED (NOT INTEL) "
	organization = "Simulated SGX Platform - Not Intel"
	rootName     = label + "SGX Root CA"
	pckCAName    = label + "SGX PCK Processor CA"
	pckName      = label + "SGX PCK Certificate"
	tcbName      = label + "SGX TCB Signing"
)

// Authority is a certificate before it is signed, and its key.
type Authority struct {
	Template *x509.Certificate
	Key      *ecdsa.PrivateKey
}

// noCA as a path length makes a certificate that issues no others.
const noCA = -1

// newAuthority makes the template of a certificate. It carries the five extensions
// that Intel's carry, since verifiers insist on them. Who says whose it is, for its
// key and its serial number.
func newAuthority(name, who string, usage x509.KeyUsage, pathLength int) (Authority, error) {
	key, err := deriveKey(who)
	if err != nil {
		return Authority{}, err
	}
	keyID, err := subjectKeyID(&key.PublicKey)
	if err != nil {
		return Authority{}, err
	}
	return Authority{Key: key, Template: &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(append([]byte{1}, derive(18, "serial number of "+strings.TrimPrefix(who, "key of "))...)),
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

// Issue signs the certificate of another authority, or of a itself.
func (a Authority) Issue(child Authority) (*x509.Certificate, error) {
	// Without a source of randomness ECDSA is deterministic (RFC 6979).
	der, err := x509.CreateCertificate(nil, child.Template, a.Template, &child.Key.PublicKey, a.Key)
	if err != nil {
		return nil, fmt.Errorf("simulated: certificate %q: %w", child.Template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

// Revoke signs a revocation list, and returns it in DER.
func (a Authority) Revoke(list *x509.RevocationList) ([]byte, error) {
	der, err := x509.CreateRevocationList(nil, list, a.Template, a.Key)
	if err != nil {
		return nil, fmt.Errorf("simulated: CRL of %q: %w", a.Template.Subject.CommonName, err)
	}
	return der, nil
}

// Sign signs data.
func (a Authority) Sign(data []byte) (quote.Signature, error) { return sign(a.Key, data) }

func subjectKeyID(key *ecdsa.PublicKey) ([]byte, error) {
	point, err := key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("simulated: %w", err)
	}
	sum := sha256.Sum256(point)
	return sum[:20], nil
}

// sign returns an ECDSA signature of data's SHA-256 in the form that quotes and
// collateral use. It is deterministic (RFC 6979).
func sign(key *ecdsa.PrivateKey, data []byte) (quote.Signature, error) {
	digest := sha256.Sum256(data)
	der, err := key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return quote.Signature{}, fmt.Errorf("simulated: sign: %w", err)
	}
	var s struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &s); err != nil {
		return quote.Signature{}, fmt.Errorf("simulated: sign: %w", err)
	}
	var signature quote.Signature
	s.R.FillBytes(signature[:32])
	s.S.FillBytes(signature[32:])
	return signature, nil
}
