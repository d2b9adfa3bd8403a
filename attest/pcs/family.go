package pcs

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
)

// CA is one of Intel's certificate authorities for platforms.
type CA string

// The CAs.
const (
	ProcessorCA CA = "processor" // of platforms with one processor package
	PlatformCA  CA = "platform"  // of those with several
)

// Family is the platforms that share collateral.
type Family struct {
	// FMSPC names the kind of processor and its like, in 12 hexadecimal digits.
	FMSPC string
	CA    CA
}

// NewFamily checks the names of a family.
func NewFamily(fmspc string, ca CA) (Family, error) {
	if b, err := hex.DecodeString(fmspc); err != nil || len(b) != 6 {
		return Family{}, fmt.Errorf("pcs: %q is no FMSPC: it has 12 hexadecimal digits", fmspc)
	}
	if ca != ProcessorCA && ca != PlatformCA {
		return Family{}, fmt.Errorf("pcs: %q is no CA: there are %s and %s", ca, ProcessorCA, PlatformCA)
	}
	return Family{strings.ToUpper(fmspc), ca}, nil
}

// FamilyOf is the family of the platform that has made a quote, as its certificates
// say. They are not checked.
func FamilyOf(q *quote.Quote) (Family, error) {
	if q.Signature.CertificationData.Type != quote.PCKChain {
		return Family{}, fmt.Errorf("pcs: the quote carries a %s, not the certificates of its platform", q.Signature.CertificationData.Type)
	}
	chain, err := q.Signature.CertificationData.Certificates()
	if err != nil {
		return Family{}, err
	}
	platform, err := attest.ParsePlatform(chain[0])
	if err != nil {
		return Family{}, err
	}
	ca, err := caNamed(chain[1])
	if err != nil {
		return Family{}, err
	}
	return NewFamily(platform.FMSPC.String(), ca)
}

// caOf is the CA at the head of a chain in PEM.
func caOf(chain string) (CA, error) {
	block, _ := pem.Decode([]byte(chain))
	if block == nil {
		return "", errors.New("pcs: the issuer chain of the PCK CRL is no PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("pcs: the issuer chain of the PCK CRL: %w", err)
	}
	return caNamed(certificate)
}

func caNamed(certificate *x509.Certificate) (CA, error) {
	switch name := certificate.Subject.CommonName; {
	case strings.Contains(name, "Processor CA"):
		return ProcessorCA, nil
	case strings.Contains(name, "Platform CA"):
		return PlatformCA, nil
	default:
		return "", fmt.Errorf("pcs: %q is neither the Processor CA nor the Platform CA", name)
	}
}
