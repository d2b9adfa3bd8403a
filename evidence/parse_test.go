package evidence_test

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/evidence"
)

func TestForms(t *testing.T) {
	for _, f := range forms(t) {
		t.Run(f.name, func(t *testing.T) {
			e, err := evidence.Parse(f.data)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(e.Quote, f.quote) || e.Padding != f.padding {
				t.Errorf("a quote of %d bytes and %d of padding, want %d and %d", len(e.Quote), e.Padding, len(f.quote), f.padding)
			}
			if !slices.Equal(f.forms, e.Forms) {
				t.Errorf("forms %v, want %v", e.Forms, f.forms)
			}
			if !reflect.DeepEqual(f.attachments, e.Attachments) {
				t.Errorf("attachments (-want +got):\n%s", cmp.Diff(f.attachments, e.Attachments))
			}
			clear(f.data) // the result must not depend on it
			parsed, err := e.Parsed.MarshalBinary()
			if err != nil || !bytes.Equal(parsed, f.quote) || !bytes.Equal(e.Quote, f.quote) || !reflect.DeepEqual(f.attachments, e.Attachments) {
				t.Error("the result changes with the data that was passed")
			}
		})
	}
}

func TestAttached(t *testing.T) {
	e := evidence.Evidence{Attachments: []evidence.Attachment{{Kind: evidence.Nonce, Data: []byte("n")}}}
	if data, found := e.Attached(evidence.Nonce); !found || string(data) != "n" {
		t.Errorf("%q, %v", data, found)
	}
	if data, found := e.Attached(evidence.PublicKey); found {
		t.Errorf("found %q", data)
	}
}

func TestTooLarge(t *testing.T) {
	for name, data := range map[string][]byte{
		"the data": make([]byte, evidence.MaxSize+1),
		"JSON":     []byte(`{"quote": "` + strings.Repeat("A", 2<<20) + `"}`),
		"PEM":      bytes.Repeat(pemBlock("CERTIFICATE", []byte{0x30, 0}), 1001),
	} {
		if _, err := evidence.Parse(data); !errors.Is(err, evidence.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The extensions that Parse reads may be critical for a reader that verifies what is in them.
func TestIsExtension(t *testing.T) {
	for _, oid := range []string{oidTagged, oidCMW, oidIntel, oidGramine, oidReport, oidEvidenceNew, oidDstack, oidDstackLog, oidEndorsements} {
		if !isExtension(t, oid) {
			t.Errorf("%s is none", oid)
		}
	}
	for _, oid := range []string{"2.5.29.15", "1.2.840.113741.1.13", oidTagged + ".1"} {
		if isExtension(t, oid) {
			t.Errorf("%s is one", oid)
		}
	}
}

func isExtension(t *testing.T, oid string) bool {
	t.Helper()
	var id asn1.ObjectIdentifier
	for number := range strings.SplitSeq(oid, ".") {
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		id = append(id, n)
	}
	return evidence.IsExtension(id)
}
