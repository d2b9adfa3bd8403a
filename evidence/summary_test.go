package evidence_test

import (
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

func TestSummary(t *testing.T) {
	for _, f := range forms(t) {
		e, err := evidence.Parse(f.data)
		if err != nil {
			t.Fatal(err)
		}
		s := e.Summary()
		if !slices.Equal(s.Forms, e.Forms) || s.Padding != e.Padding || len(s.Attachments) != len(e.Attachments) {
			t.Errorf("%s: %+v", f.name, s)
		}
		for i, a := range e.Attachments {
			hash := sha256.Sum256(a.Data)
			if got := s.Attachments[i]; got.Kind != a.Kind || got.Type != a.Type || got.Size != len(a.Data) || !slices.Equal(got.SHA256, hash[:]) || got.InReportData {
				t.Errorf("%s: %+v", f.name, got)
			}
		}
		if (len(s.NotChecked()) > 0) != (len(e.Attachments) > 0) {
			t.Errorf("%s: not checked: %q", f.name, s.NotChecked())
		}
	}
}

// What is in the report data is told from what is not, which is listed once for each kind.
func TestNotChecked(t *testing.T) {
	bound := []byte("runtime data")
	hash := sha256.Sum256(bound)
	body := sgx.ReportBody{}
	copy(body.ReportData[:], hash[:])
	e := evidence.Evidence{
		Forms:  []evidence.Form{evidence.FormCertificate, evidence.FormTaggedEvidence, evidence.FormQuote},
		Parsed: &quote.Quote{Enclave: &body},
		Attachments: []evidence.Attachment{
			{Kind: evidence.PublicKey, Data: []byte("key")}, {Kind: evidence.RuntimeData, Data: bound}, {Kind: evidence.Nonce, Data: []byte("nonce")},
			{Kind: evidence.OtherRecord, Data: []byte("one")}, {Kind: evidence.OtherRecord, Data: []byte("two")},
		},
	}
	want := []string{
		"the certificate around the quote: its signature, its dates and its names",
		"whether the certificate's public key belongs to the quote",
		"whether the nonce belongs to the quote",
		"other CMW records",
	}
	s := e.Summary()
	if got := s.NotChecked(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, a := range s.Attachments {
		if a.InReportData != (a.Kind == evidence.RuntimeData) {
			t.Errorf("%s: in the report data: %t", a.Kind, a.InReportData)
		}
	}
	body.ReportData[31]++
	if got := e.Summary().NotChecked(); !slices.Contains(got, "whether the runtime data belongs to the quote") {
		t.Errorf("with other report data: %q", got)
	}
}
