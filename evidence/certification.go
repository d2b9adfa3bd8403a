package evidence

import (
	"fmt"

	"github.com/confcom/confcom/quote"
)

// Certification is how a quote states which PCK (provisioning certification key) certified
// it, and what a verifier needs besides. Its text is for people.
type Certification struct {
	Type quote.CertificationDataType
	// Missing is what the quote lacks.
	Missing Missing
	// Platform identifies the platform if the quote has its PPID; nil for other types.
	Platform *quote.PlatformID
	// Err is why the data cannot be read.
	Err error
}

// Missing is what a verifier needs besides the quote, to build the chain of the PCK
// certificate.
type Missing string

// What can be missing.
const (
	NothingMissing        Missing = ""
	MissingPCKCertificate Missing = "the PCK certificate"
	MissingCACertificates Missing = "the certificates of the CAs"
)

// Certification describes the certification data of the quote.
func (e *Evidence) Certification() Certification {
	data := e.Parsed.Signature.CertificationData
	c := Certification{Type: data.Type}
	switch data.Type {
	case quote.PPIDClear, quote.PPIDRSA2048, quote.PPIDRSA3072:
		c.Missing = MissingPCKCertificate
		platform, err := data.PlatformID()
		if c.Err = err; err == nil {
			c.Platform = &platform
		}
	case quote.PCKLeaf:
		c.Missing = MissingCACertificates
		_, c.Err = data.Certificates()
	case quote.PCKChain:
		_, c.Err = data.Certificates()
	default: // a platform manifest
		c.Missing = MissingPCKCertificate
	}
	return c
}

// String says what the quote has and where the rest must come from.
func (c Certification) String() string {
	text := fmt.Sprintf("%s (type %d)", c.Type, uint16(c.Type))
	switch {
	case c.Err != nil:
		return fmt.Sprintf("%s that cannot be read: %v", text, c.Err)
	case c.Missing == NothingMissing:
		return text + ": complete"
	}
	return fmt.Sprintf("%s: %s must come from elsewhere", text, c.Missing)
}
