package evidence

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/confcom/confcom/quote"
)

// Summary describes evidence without its content, for results and logs.
type Summary struct {
	// Forms, Padding and Attachments are those of Evidence.
	Forms       []Form              `json:"forms"`
	Padding     int                 `json:"padding,omitempty"`
	Attachments []AttachmentSummary `json:"attachments,omitempty"`
}

// AttachmentSummary describes an attachment.
type AttachmentSummary struct {
	Kind   Kind           `json:"kind"`
	Type   string         `json:"type,omitempty"`
	Size   int            `json:"size"`   // bytes
	SHA256 quote.HexBytes `json:"sha256"` // of the data
	// InReportData reports whether the report data begins with SHA256: the maker of the
	// report has bound the attachment to it. If the quote is not trusted, that means nothing.
	InReportData bool `json:"inReportData"`
}

// Summary returns a summary of e.
func (e *Evidence) Summary() Summary {
	s := Summary{Forms: slices.Clone(e.Forms), Padding: e.Padding}
	reportData := e.Parsed.ReportData()
	for _, a := range e.Attachments {
		hash := sha256.Sum256(a.Data)
		s.Attachments = append(s.Attachments, AttachmentSummary{
			Kind: a.Kind, Type: a.Type, Size: len(a.Data), SHA256: hash[:],
			InReportData: bytes.HasPrefix(reportData[:], hash[:]),
		})
	}
	return s
}

// What NotChecked returns for a certificate with a quote. Package attest/ratls checks it.
const (
	UncheckedCertificate  = "the certificate around the quote: its signature, its dates and its names"
	UncheckedPublicKey    = "whether the certificate's public key belongs to the quote"
	UncheckedCustomClaims = "whether the custom claims belong to the quote"
)

// NotChecked returns what a verification of the quote alone says nothing about, for people: an
// attachment is left out if the report data has its hash.
func (s Summary) NotChecked() []string {
	var all []string
	if slices.Contains(s.Forms, FormCertificate) {
		all = append(all, UncheckedCertificate)
	}
	for _, a := range s.Attachments {
		if a.InReportData {
			continue
		}
		if text := a.Kind.notChecked(); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// notChecked returns what is not known about an attachment whose hash is not in the report data.
func (k Kind) notChecked() string {
	switch k {
	case PublicKey:
		return UncheckedPublicKey
	case CustomClaims:
		return UncheckedCustomClaims
	case EventLog:
		return "whether the event log leads to RTMR0 to RTMR3"
	case NonceSignature:
		return "the signature of the nonce"
	case TPMQuote:
		return "the TPM quote: its signature, its nonce and what it measures"
	case LegacyQuote:
		return "the legacy quote, which is another one"
	case Endorsements:
		return "the endorsements: they are not used as collateral"
	case OtherRecord:
		return "other CMW records"
	}
	return "whether the " + string(k) + " belongs to the quote"
}
