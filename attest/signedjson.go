package attest

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/confcom/confcom/quote"
)

// checkSignedText checks that a JSON text is signed by the key of a certificate.
func checkSignedText(text string, signature quote.Signature, signer *x509.Certificate) error {
	key, err := p256Key(signer)
	if err != nil {
		return err
	}
	if !verifySignature(key, []byte(text), signature) {
		return fmt.Errorf("signature verification failed with the key of %q", signer.Subject.CommonName)
	}
	return nil
}

// issued is the part that TCB info and QE identity have in common.
type issued struct {
	ID                      string    `json:"id"`
	Version                 int       `json:"version"`
	IssueDate               time.Time `json:"issueDate"`
	NextUpdate              time.Time `json:"nextUpdate"`
	TCBEvaluationDataNumber *int      `json:"tcbEvaluationDataNumber"`
}

// check checks the kind and the version, and that nothing is missing.
func (i issued) check(id string, version int) error {
	switch {
	case i.ID != id && (i.ID == "TDX" || i.ID == "TD_QE"):
		return fmt.Errorf("id is %q, want %q: it is from a service's API for TDX, whose path has /tdx/ in place of /sgx/", i.ID, id)
	case i.ID != id:
		return fmt.Errorf("id is %q, want %q", i.ID, id)
	case i.Version != version:
		return fmt.Errorf("version is %d, want %d (PCS API v4)", i.Version, version)
	case i.IssueDate.IsZero() || i.NextUpdate.IsZero():
		return errors.New("issueDate or nextUpdate is missing")
	case i.TCBEvaluationDataNumber == nil:
		return errors.New("tcbEvaluationDataNumber is missing")
	}
	return nil
}

// period returns when the text is valid.
func (i issued) period(what string) period {
	return period{what: what, from: i.IssueDate, until: i.NextUpdate, renewable: true, aging: true}
}

// levelStatus is the part of a TCB level that is its status.
type levelStatus struct {
	Status     TCBStatus `json:"tcbStatus"`
	Date       time.Time `json:"tcbDate"`
	Advisories []string  `json:"advisoryIDs"`
}

func (s levelStatus) check() error {
	switch {
	case s.Status == "":
		return errors.New("a TCB level has no tcbStatus")
	case s.Date.IsZero():
		return errors.New("a TCB level has no tcbDate")
	}
	return nil
}

// The types hex2 to hex16 are JSON strings with so many bytes in hexadecimal.
type (
	hex2  [2]byte
	hex4  [4]byte
	hex6  [6]byte
	hex16 [16]byte
)

func (v *hex2) UnmarshalText(text []byte) error  { return decodeHex(v[:], text) }
func (v *hex4) UnmarshalText(text []byte) error  { return decodeHex(v[:], text) }
func (v *hex6) UnmarshalText(text []byte) error  { return decodeHex(v[:], text) }
func (v *hex16) UnmarshalText(text []byte) error { return decodeHex(v[:], text) }

func decodeHex(dst, text []byte) error {
	if len(text) != hex.EncodedLen(len(dst)) {
		return fmt.Errorf("%d hexadecimal digits, want %d", len(text), hex.EncodedLen(len(dst)))
	}
	_, err := hex.Decode(dst, text)
	return err
}
