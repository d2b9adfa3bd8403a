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

// authority is a certificate and its key.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// authorities are the same for every simulated platform.
type authorities struct {
	root authority
	pck  authority // issues PCK certificates
	tcb  authority // signs TCB info and QE identity
}

func newAuthorities() (*authorities, error) {
	root, err := newAuthority(rootName, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, 1, nil)
	if err != nil {
		return nil, err
	}
	pck, err := newAuthority(pckCAName, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, 0, root)
	if err != nil {
		return nil, err
	}
	tcb, err := newAuthority(tcbName, x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment, noCA, root)
	if err != nil {
		return nil, err
	}
	return &authorities{root: *root, pck: *pck, tcb: *tcb}, nil
}

// noCA as a path length makes a certificate that issues no others.
const noCA = -1

func newAuthority(name string, usage x509.KeyUsage, pathLength int, issuer *authority) (*authority, error) {
	key, err := deriveKey("key of " + name)
	if err != nil {
		return nil, err
	}
	certificate, err := issue(name, name, key, usage, pathLength, issuer)
	if err != nil {
		return nil, err
	}
	return &authority{certificate: certificate, key: key}, nil
}

// issue makes a certificate; without an issuer it is self-signed. It carries
// the five extensions that Intel's carry, since verifiers insist on them. Who
// says whose it is, for its serial number.
func issue(name, who string, key *ecdsa.PrivateKey, usage x509.KeyUsage, pathLength int, issuer *authority, extra ...pkix.Extension) (*x509.Certificate, error) {
	keyID, err := subjectKeyID(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(append([]byte{1}, derive(18, "serial number of "+who)...)),
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
		ExtraExtensions:       extra,
	}
	parent, parentKey := template, key
	if issuer != nil {
		parent, parentKey = issuer.certificate, issuer.key
	}
	// Without a source of randomness ECDSA is deterministic (RFC 6979).
	der, err := x509.CreateCertificate(nil, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, fmt.Errorf("simulated: certificate %q: %w", name, err)
	}
	return x509.ParseCertificate(der)
}

func subjectKeyID(key *ecdsa.PublicKey) ([]byte, error) {
	point, err := key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("simulated: %w", err)
	}
	sum := sha256.Sum256(point)
	return sum[:20], nil
}

// revocationList returns the (empty) CRL of a, in DER.
func (a *authority) revocationList(now time.Time, valid time.Duration) ([]byte, error) {
	der, err := x509.CreateRevocationList(nil, &x509.RevocationList{
		Number:     big.NewInt(1),
		ThisUpdate: now,
		NextUpdate: now.Add(valid),
	}, a.certificate, a.key)
	if err != nil {
		return nil, fmt.Errorf("simulated: CRL of %q: %w", a.certificate.Subject.CommonName, err)
	}
	return der, nil
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
