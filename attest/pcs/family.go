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

// Family is a family of platforms that share collateral, in package attest. Get one from NewFamily
// or FamilyOf.
type Family = attest.Family

// CA is one of Intel's certificate authorities that issue PCK certificates, in package attest.
type CA = attest.CA

// The CAs.
const (
	ProcessorCA = attest.ProcessorCA // for platforms with one processor package
	PlatformCA  = attest.PlatformCA  // for platforms with several
)

// NewFamily returns a family, for collateral about enclaves. FMSPC and CA must be valid.
func NewFamily(fmspc string, ca CA) (Family, error) {
	if b, err := hex.DecodeString(fmspc); err != nil || len(b) != 6 {
		return Family{}, fmt.Errorf("pcs: invalid FMSPC %q: want 12 hexadecimal digits", fmspc)
	}
	if ca != ProcessorCA && ca != PlatformCA {
		return Family{}, fmt.Errorf("pcs: unknown CA %q: want %s or %s", ca, ProcessorCA, PlatformCA)
	}
	return Family{FMSPC: strings.ToUpper(fmspc), CA: ca}, nil
}

// FamilyOf returns the family of the platform in the certificates of a quote, and the TEE of the
// quote. It does not verify them. If the quote has no certificates, the error wraps
// quote.ErrUnsupported.
func FamilyOf(q *quote.Quote) (Family, error) {
	if q.Signature.CertificationData.Type != quote.PCKChain {
		return Family{}, fmt.Errorf("pcs: %w: the quote has a %s, want a PCK certificate chain: the attesting machine includes one if its quote provider gets certificates", quote.ErrUnsupported, q.Signature.CertificationData.Type)
	}
	chain, err := q.Signature.CertificationData.Certificates()
	if err != nil {
		return Family{}, err
	}
	platform, err := attest.ParsePlatform(chain[0])
	if err != nil {
		return Family{}, err
	}
	ca, err := attest.CAOf(chain[1])
	if err != nil {
		return Family{}, err
	}
	family, err := NewFamily(platform.FMSPC.String(), ca)
	if q.TD != nil {
		family.TEE = quote.TDX
	}
	return family, err
}

// caOf returns the CA in the first certificate of a chain in PEM.
func caOf(chain string) (CA, error) {
	block, _ := pem.Decode([]byte(chain))
	if block == nil {
		return "", errors.New("pcs: issuer chain of the PCK CRL: not PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("pcs: issuer chain of the PCK CRL: %w", err)
	}
	return attest.CAOf(certificate)
}
