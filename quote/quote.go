package quote

import (
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// Quote is a parsed quote. Exactly one of Enclave and TD is set, depending on
// BodyType.
type Quote struct {
	Header   Header          `json:"header"`
	BodyType BodyType        `json:"bodyType"`
	Enclave  *sgx.ReportBody `json:"enclave,omitempty"`
	TD       *tdx.ReportBody `json:"td,omitempty"`
	// Signature is the part after the signature data length.
	Signature SignatureData `json:"signature"`
}

// ReportData returns the data that the enclave or trust domain bound to the quote.
func (q *Quote) ReportData() sgx.ReportData {
	if q.TD != nil {
		return q.TD.ReportData
	}
	return q.Enclave.ReportData
}
