package attest

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/confcom/confcom/sgx"
)

// hexBytes is a field of JSON with just so many bytes in hex.
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
	if len(text) != 2*len(dst) {
		return fmt.Errorf("%d hexadecimal digits, not %d", len(text), 2*len(dst))
	}
	_, err := hex.Decode(dst, text)
	return err
}

// issued is what TCB info and identities have in common.
type issued struct {
	ID                      string    `json:"id"`
	Version                 int       `json:"version"`
	IssueDate               time.Time `json:"issueDate"`
	NextUpdate              time.Time `json:"nextUpdate"`
	TCBEvaluationDataNumber *int      `json:"tcbEvaluationDataNumber"`
}

// check refuses what is of another kind, or lacks something.
func (i issued) check(id string, version int) error {
	switch {
	case i.ID != id:
		return fmt.Errorf("it is of %q, not of %q", i.ID, id)
	case i.Version != version:
		return fmt.Errorf("its version is %d; %d is what is understood here, of version 4 of Intel's API", i.Version, version)
	case i.IssueDate.IsZero() || i.NextUpdate.IsZero():
		return errors.New("it does not say from when to when it is valid")
	case i.TCBEvaluationDataNumber == nil:
		return errors.New("it has no tcbEvaluationDataNumber")
	}
	return nil
}

// judgement is what Intel says of a TCB level.
type judgement struct {
	Status     TCBStatus `json:"tcbStatus"`
	Date       time.Time `json:"tcbDate"`
	Advisories []string  `json:"advisoryIDs"`
}

func (j judgement) check() error {
	switch {
	case j.Status == "":
		return errors.New("a TCB level has no tcbStatus")
	case j.Date.IsZero():
		return errors.New("a TCB level has no tcbDate")
	}
	return nil
}

// tcbInfo says which security versions of a family of platforms are safe: PCS API
// v4, TCB info version 3.
type tcbInfo struct {
	issued
	FMSPC  hex6       `json:"fmspc"`
	PCEID  hex2       `json:"pceId"`
	Type   int        `json:"tcbType"`
	Levels []tcbLevel `json:"tcbLevels"` // from the highest to the lowest
}

type tcbLevel struct {
	TCB struct {
		Components []struct {
			SVN *uint8 `json:"svn"`
		} `json:"sgxtcbcomponents"`
		PCESVN *uint16 `json:"pcesvn"`
	} `json:"tcb"`
	judgement

	components [16]uint8
}

// compare is by the components, and by the PCE where they are the same: so Intel's
// library sorts levels.
func (l tcbLevel) compare(other tcbLevel) int {
	return cmp.Or(bytes.Compare(l.components[:], other.components[:]), cmp.Compare(*l.TCB.PCESVN, *other.TCB.PCESVN))
}

// parseTCBInfo reads the text whose signature was checked.
func parseTCBInfo(text []byte) (*tcbInfo, error) {
	t := new(tcbInfo)
	if err := json.Unmarshal(text, t); err != nil {
		return nil, err
	}
	if err := t.check("SGX", 3); err != nil {
		return nil, err
	}
	if t.Type != 0 {
		return nil, fmt.Errorf("its tcbType is %d, not 0: nobody knows how to compare its levels", t.Type)
	}
	for i := range t.Levels {
		l := &t.Levels[i]
		if len(l.TCB.Components) != len(l.components) || l.TCB.PCESVN == nil {
			return nil, fmt.Errorf("TCB level %d has %d components or no pcesvn", i, len(l.TCB.Components))
		}
		for j, c := range l.TCB.Components {
			if c.SVN == nil {
				return nil, fmt.Errorf("component %d of TCB level %d has no svn", j, i)
			}
			l.components[j] = *c.SVN
		}
		if err := l.judgement.check(); err != nil {
			return nil, err
		}
	}
	if err := descending(t.Levels, tcbLevel.compare); err != nil {
		return nil, err
	}
	return t, nil
}

// descending sorts levels from the highest to the lowest, and refuses two of the
// same: what holds then would be a matter of luck.
func descending[L any](levels []L, compare func(L, L) int) error {
	if len(levels) == 0 {
		return errors.New("it has no TCB levels")
	}
	slices.SortFunc(levels, func(a, b L) int { return compare(b, a) })
	for i := range levels[1:] {
		if compare(levels[i], levels[i+1]) == 0 {
			return errors.New("it has a TCB level twice")
		}
	}
	return nil
}

// level returns the highest level that a platform reaches: all its versions are as
// high at least.
func (t *tcbInfo) level(p *Platform) (*tcbLevel, error) {
	for i := range t.Levels {
		l := &t.Levels[i]
		reached := p.PCESVN >= *l.TCB.PCESVN
		for j, svn := range l.components {
			reached = reached && p.Components[j] >= svn
		}
		if reached {
			return l, nil
		}
	}
	return nil, errors.New("the platform reaches no TCB level that Intel knows: it is older than all of them")
}

// qeIdentity says which enclave is the quoting enclave: PCS API v4, enclave
// identity version 2.
type qeIdentity struct {
	issued
	MiscSelect     hex4            `json:"miscselect"` // little-endian
	MiscSelectMask hex4            `json:"miscselectMask"`
	Attributes     hex16           `json:"attributes"`
	AttributesMask hex16           `json:"attributesMask"`
	MRSigner       sgx.Measurement `json:"mrsigner"`
	ISVProdID      *uint16         `json:"isvprodid"`
	Levels         []qeLevel       `json:"tcbLevels"`
}

type qeLevel struct {
	TCB struct {
		ISVSVN *uint16 `json:"isvsvn"`
	} `json:"tcb"`
	judgement
}

// parseQEIdentity reads the text whose signature was checked.
func parseQEIdentity(text []byte) (*qeIdentity, error) {
	id := new(qeIdentity)
	if err := json.Unmarshal(text, id); err != nil {
		return nil, err
	}
	if err := id.check("QE", 2); err != nil {
		return nil, err
	}
	if id.ISVProdID == nil || id.MRSigner == (sgx.Measurement{}) {
		return nil, errors.New("it has no isvprodid or no mrsigner")
	}
	for i, l := range id.Levels {
		if l.TCB.ISVSVN == nil {
			return nil, fmt.Errorf("TCB level %d has no isvsvn", i)
		}
		if err := l.judgement.check(); err != nil {
			return nil, err
		}
	}
	if err := descending(id.Levels, func(a, b qeLevel) int { return cmp.Compare(*a.TCB.ISVSVN, *b.TCB.ISVSVN) }); err != nil {
		return nil, err
	}
	return id, nil
}

// level returns the highest level that a quoting enclave reaches.
func (id *qeIdentity) level(svn uint16) (*qeLevel, error) {
	for i := range id.Levels {
		if l := &id.Levels[i]; svn >= *l.TCB.ISVSVN {
			return l, nil
		}
	}
	return nil, fmt.Errorf("the quoting enclave's security version %d is lower than all that Intel knows", svn)
}

// matches tells whether a report is of this quoting enclave.
func (id *qeIdentity) matches(report sgx.ReportBody) error {
	body, _ := report.MarshalBinary()
	// Attributes and MISCSELECT as they are in memory: sgx_report_body_t of
	// sgx_report.h.
	const offMiscSelect, offAttributes = 16, 48
	switch {
	case !equalMasked(body[offMiscSelect:], id.MiscSelect[:], id.MiscSelectMask[:]):
		return fmt.Errorf("the quoting enclave has MISCSELECT %#x", report.MiscSelect)
	case !equalMasked(body[offAttributes:], id.Attributes[:], id.AttributesMask[:]):
		return fmt.Errorf("the quoting enclave has attributes %s", report.Attributes)
	case report.MRSigner != id.MRSigner || report.ISVProdID != *id.ISVProdID:
		return fmt.Errorf("an enclave with MRSIGNER %s and product %d vouches for the quote: it is not the quoting enclave (%s, %d)",
			report.MRSigner, report.ISVProdID, id.MRSigner, *id.ISVProdID)
	}
	return nil
}

// equalMasked tells whether the bits of a mask are as they should be.
func equalMasked(got, want, mask []byte) bool {
	for i := range mask {
		if got[i]&mask[i] != want[i] {
			return false
		}
	}
	return true
}
