package verifyserver

import (
	"errors"
	"testing"

	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/tdx"
)

// What is remembered is what pcs.FamilyOf returns, and bounded.
func TestFamilies(t *testing.T) {
	var f families
	for range 2 {
		for i, q := range otherFamilies(t, 3) {
			want, err := pcs.FamilyOf(q)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if got, err := f.of(q); got != want || err != nil {
					t.Errorf("quote %d: %v, %v; want %v", i, got, err, want)
				}
			}
		}
	}
	q := *otherFamilies(t, 1)[0]
	q.TD = new(tdx.ReportBody)
	if got, err := f.of(&q); got.TEE != quote.TDX || err != nil { // with a chain that is known
		t.Errorf("a trust domain: %v, %v", got, err)
	}
	q = *otherFamilies(t, 1)[0]
	chain := q.Signature.CertificationData
	q.Signature.CertificationData.Type = quote.PPIDRSA3072
	if _, err := f.of(&q); !errors.Is(err, quote.ErrUnsupported) {
		t.Errorf("no certificates: %v", err)
	}
	q.Signature.CertificationData = chain
	q.Signature.CertificationData.Data = chain.Data[:100]
	for range 2 {
		if _, err := f.of(&q); err == nil {
			t.Error("no error for a chain that is cut off")
		}
	}
	for i := range maxFamilies + 10 {
		q.Signature.CertificationData.Data = append(make([]byte, 0, len(chain.Data)+i), chain.Data...)
		for range i {
			q.Signature.CertificationData.Data = append(q.Signature.CertificationData.Data, '\n')
		}
		_, _ = f.of(&q)
	}
	if len(f.known) == 0 || len(f.known) > maxFamilies {
		t.Errorf("remembers %d chains", len(f.known))
	}
}
