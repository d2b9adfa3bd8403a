package attest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// Root is a certificate authority that the caller trusts to head the chains of
// PCK certificates. Only the key counts.
type Root struct {
	Name string // for people
	Key  *ecdsa.PublicKey
}

// intelRootKey is the public key of the certificate "Intel SGX Root CA" with
// serial number 22650CD65A9D3489F383B49552BF501B392706AC, valid 2018 to 2049,
// as an uncompressed point.
const intelRootKey = "04" +
	"0ba9c4c0c0c86193a3fe23d6b02cda10a8bbd4e88e48b4458561a36e705525f5" +
	"67918e2edc88e40d860bd0cc4ee26aacc988e505a953558c453f6b0904ae7394"

// IntelRoot returns the root of all genuine SGX platforms.
func IntelRoot() Root {
	point, err := hex.DecodeString(intelRootKey)
	if err != nil {
		panic(err) // the constant above is not hex
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		panic(err) // the constant above is no point
	}
	return Root{Name: "Intel SGX Root CA", Key: key}
}

// ParseRoot reads a root from PEM that holds exactly one certificate.
func ParseRoot(text []byte) (Root, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return Root{}, errors.New("attest: root: no PEM certificate")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return Root{}, errors.New("attest: root: more than one PEM block; give the root certificate alone")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return Root{}, fmt.Errorf("attest: root: %w", err)
	}
	key, ok := certificate.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return Root{}, fmt.Errorf("attest: root %q: its key is not ECDSA P-256", certificate.Subject.CommonName)
	}
	return Root{Name: certificate.Subject.CommonName, Key: key}, nil
}
