package evidence_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/quote"
)

// Whatever is read, the quote is one that package quote reads alone, and the same result comes
// from its bytes. Whatever is refused has exactly one cause.
func FuzzParse(f *testing.F) {
	for _, form := range forms(f) {
		f.Add(form.data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := evidence.Parse(data)
		if err != nil {
			checkError(t, err)
			return
		}
		q, err := quote.Parse(e.Quote)
		if err != nil {
			t.Fatal(err)
		}
		again, err := q.MarshalBinary()
		if err != nil || !bytes.Equal(again, e.Quote) {
			t.Errorf("the quote is not what was parsed: %v", err)
		}
		if len(e.Forms) == 0 || e.Forms[len(e.Forms)-1] != evidence.FormQuote || e.Padding < 0 {
			t.Errorf("%v, %d", e.Forms, e.Padding)
		}
		_ = e.Certification().String()
	})
}

// What is in base64, PEM, certificates and CMW is varied itself: variations of the encoding
// seldom reach it.
func FuzzWrapped(f *testing.F) {
	for i, form := range forms(f) {
		f.Add(uint8(i), form.data)
	}
	oids := []string{oidTagged, oidCMW, oidIntel, oidGramine, oidReport, oidEvidence, oidDstack}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		var wrapped []byte
		switch kind % 4 {
		case 0:
			wrapped = []byte(b64(data))
		case 1:
			wrapped = pemBlock("SGX QUOTE", data)
		case 2:
			wrapped, _ = certificate(t, oids[int(kind/4)%len(oids)], string(data))
		default:
			wrapped = encodeJSON(t, []any{"a/b", b64url(data)})
		}
		if _, err := evidence.Parse(wrapped); err != nil {
			checkError(t, err)
		}
	})
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var located *evidence.Error
	if !errors.As(err, &located) {
		t.Fatalf("%T: %v", err, err)
	}
	causes := 0
	for _, cause := range []error{evidence.ErrNoQuote, evidence.ErrMalformed, evidence.ErrTrailing, evidence.ErrAmbiguous, evidence.ErrTooLarge} {
		if errors.Is(err, cause) {
			causes++
		}
	}
	if causes != 1 {
		t.Errorf("%d causes: %v", causes, err)
	}
}
