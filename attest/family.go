package attest

import (
	"crypto/x509"
	"fmt"
	"strings"

	"github.com/confcom/confcom/quote"
)

// CA is one of Intel's certificate authorities that issue PCK certificates.
type CA string

// The CAs.
const (
	ProcessorCA CA = "processor" // for platforms with one processor package
	PlatformCA  CA = "platform"  // for platforms with several
)

// CAOf returns which of the CAs a certificate is of, by its name. It does not verify it.
func CAOf(certificate *x509.Certificate) (CA, error) { return caNamed(certificate.Subject.CommonName) }

// IssuerOf returns which of the CAs issued a PCK certificate, by its name. It does not verify it.
func IssuerOf(pck *x509.Certificate) (CA, error) { return caNamed(pck.Issuer.CommonName) }

func caNamed(name string) (CA, error) {
	switch {
	case strings.Contains(name, "Processor CA"):
		return ProcessorCA, nil
	case strings.Contains(name, "Platform CA"):
		return PlatformCA, nil
	default:
		return "", fmt.Errorf("attest: %q is neither the Processor CA nor the Platform CA", name)
	}
}

// Family is a family of platforms that share collateral, which is about their enclaves or about
// their trust domains.
type Family struct {
	// FMSPC identifies family, model, stepping, platform type and custom SKU of the processors:
	// 12 hexadecimal digits in upper case.
	FMSPC string
	CA    CA
	// TEE is quote.SGX for collateral about enclaves, and quote.TDX for trust domains.
	TEE quote.TEE
}

// String returns the family for people.
func (f Family) String() string { return fmt.Sprintf("%s, FMSPC %s, %s CA", f.TEE, f.FMSPC, f.CA) }

// family returns the family of the platform of a chain, for quotes of a TEE.
func (c *pckChain) family(tee quote.TEE) (Family, error) {
	ca, err := CAOf(c.intermediate)
	if err != nil {
		return Family{}, err
	}
	return Family{FMSPC: fmt.Sprintf("%X", []byte(c.platform.FMSPC)), CA: ca, TEE: tee}, nil
}
