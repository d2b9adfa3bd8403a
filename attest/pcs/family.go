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

// CA is one of Intel's certificate authorities that issue PCK certificates.
type CA string

// The CAs.
const (
	ProcessorCA CA = "processor" // for platforms with one processor package
	PlatformCA  CA = "platform"  // for platforms with several
)

// Family is a family of platforms that share collateral, which is about their enclaves or about
// their trust domains. Get one from NewFamily or FamilyOf.
type Family struct {
	// FMSPC identifies family, model, stepping, platform type and custom SKU of the processors:
	// 12 hexadecimal digits in upper case.
	FMSPC string
	CA    CA
	// TEE is quote.SGX for collateral about enclaves, and quote.TDX for trust domains.
	TEE quote.TEE
}

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

// String returns the family for people.
func (f Family) String() string { return fmt.Sprintf("%s, FMSPC %s, %s CA", f.TEE, f.FMSPC, f.CA) }

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
	ca, err := caNamed(chain[1])
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
