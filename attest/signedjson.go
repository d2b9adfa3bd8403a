package attest

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/confcom/confcom/quote"
)

// checkSignedText checks that a JSON text is signed by the key of a certificate.
func checkSignedText(text []byte, signature quote.Signature, signer *x509.Certificate) error {
	key, err := p256Key(signer)
	if err != nil {
		return err
	}
	if !verifySignature(key, text, signature) {
		return fmt.Errorf("signature verification failed with the key of %q", signer.Subject.CommonName)
	}
	return nil
}

// issued is the part that TCB info and QE identity have in common.
type issued struct {
	ID                      string
	Version                 uint64
	IssueDate               time.Time
	NextUpdate              time.Time
	TCBEvaluationDataNumber *int
}

// member reads a member, and reports whether it is one of these.
func (i *issued) member(r *jsonReader, name []byte) bool {
	switch string(name) {
	case "id":
		i.ID = r.string()
	case "version":
		i.Version = r.number(math.MaxInt32)
	case "issueDate":
		r.into(&i.IssueDate)
	case "nextUpdate":
		r.into(&i.NextUpdate)
	case "tcbEvaluationDataNumber":
		number := int(r.number(math.MaxInt32))
		i.TCBEvaluationDataNumber = &number
	default:
		return false
	}
	return true
}

// check checks the version, and that nothing is missing. It returns the TEE of the text,
// which follows from its ID.
func (i issued) check(sgxID, tdxID string, version uint64) (quote.TEE, error) {
	switch {
	case i.ID != sgxID && i.ID != tdxID:
		return 0, fmt.Errorf("id is %q, want %q or %q", i.ID, sgxID, tdxID)
	case i.Version != version:
		return 0, fmt.Errorf("version is %d, want %d (PCS API v4)", i.Version, version)
	case i.IssueDate.IsZero() || i.NextUpdate.IsZero():
		return 0, errors.New("issueDate or nextUpdate is missing")
	case i.TCBEvaluationDataNumber == nil:
		return 0, errors.New("tcbEvaluationDataNumber is missing")
	}
	if i.ID == tdxID {
		return quote.TDX, nil
	}
	return quote.SGX, nil
}

// period returns when the text is valid.
func (i issued) period(what string) period {
	return period{what: what, from: i.IssueDate, until: i.NextUpdate, renewable: true, aging: true}
}

// levelStatus is the part of a TCB level that is its status.
type levelStatus struct {
	Status     TCBStatus
	Date       time.Time
	Advisories []string
}

// member reads a member, and reports whether it is one of these.
func (s *levelStatus) member(r *jsonReader, name []byte) bool {
	switch string(name) {
	case "tcbStatus":
		r.into(&s.Status)
	case "tcbDate":
		r.into(&s.Date)
	case "advisoryIDs":
		r.array(func() { s.Advisories = append(s.Advisories, r.string()) })
	default:
		return false
	}
	return true
}

func (s levelStatus) check() error {
	switch {
	case s.Status == "":
		return errors.New("a TCB level has no tcbStatus")
	case s.Status == TDRelaunchAdvised || s.Status == TDRelaunchAdvisedConfigurationNeeded:
		return fmt.Errorf("a TCB level has status %s, which follows from two levels", s.Status)
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
	hex8  [8]byte
	hex16 [16]byte
)

func (v *hex2) UnmarshalText(text []byte) error  { return decodeHex(v[:], text) }
func (v *hex4) UnmarshalText(text []byte) error  { return decodeHex(v[:], text) }
func (v *hex6) UnmarshalText(text []byte) error  { return decodeHex(v[:], text) }
func (v *hex8) UnmarshalText(text []byte) error  { return decodeHex(v[:], text) }
func (v *hex16) UnmarshalText(text []byte) error { return decodeHex(v[:], text) }

func decodeHex(dst, text []byte) error {
	if len(text) != hex.EncodedLen(len(dst)) {
		return fmt.Errorf("%d hexadecimal digits, want %d", len(text), hex.EncodedLen(len(dst)))
	}
	_, err := hex.Decode(dst, text)
	return err
}
