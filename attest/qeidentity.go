package attest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// qeIdentity is the identity of the quoting enclave of a TEE: PCS API v4, enclave identity
// version 2.
type qeIdentity struct {
	issued
	tee            quote.TEE
	MiscSelect     hex4 // little-endian
	MiscSelectMask hex4
	Attributes     hex16 // the binary form of sgx.Attributes
	AttributesMask hex16
	MRSigner       sgx.Measurement
	ISVProdID      *uint16
	Levels         []isvSVNLevel // from highest to lowest
}

// parseQEIdentity reads a text whose signature has been verified.
func parseQEIdentity(text []byte) (*qeIdentity, error) {
	id := new(qeIdentity)
	r := &jsonReader{text: text}
	r.object(func(name []byte) {
		switch string(name) {
		case "miscselect":
			r.into(&id.MiscSelect)
		case "miscselectMask":
			r.into(&id.MiscSelectMask)
		case "attributes":
			r.into(&id.Attributes)
		case "attributesMask":
			r.into(&id.AttributesMask)
		case "mrsigner":
			r.into(&id.MRSigner)
		case "isvprodid":
			product := uint16(r.number(math.MaxUint16))
			id.ISVProdID = &product
		case "tcbLevels":
			id.Levels = readISVSVNLevels(r)
		default:
			if !id.issued.member(r, name) {
				r.skip()
			}
		}
	})
	if err := r.end(); err != nil {
		return nil, err
	}
	var err error
	if id.tee, err = id.check("QE", "TD_QE", 2); err != nil {
		return nil, err
	}
	if id.ISVProdID == nil || id.MRSigner == (sgx.Measurement{}) {
		return nil, errors.New("isvprodid or mrsigner is missing")
	}
	if err := parseISVSVNLevels(id.Levels); err != nil {
		return nil, err
	}
	return id, nil
}

// matches checks that a report is of the quoting enclave with this identity.
func (id *qeIdentity) matches(report sgx.ReportBody) error {
	miscSelect := binary.LittleEndian.AppendUint32(nil, report.MiscSelect)
	attributes, _ := report.Attributes.MarshalBinary()
	switch {
	case !equalMasked(miscSelect, id.MiscSelect[:], id.MiscSelectMask[:]):
		return fmt.Errorf("the quoting enclave has MISCSELECT %#x", report.MiscSelect)
	case !equalMasked(attributes, id.Attributes[:], id.AttributesMask[:]):
		return fmt.Errorf("the quoting enclave has attributes %s", report.Attributes)
	}
	return checkMaker(report, QuotingEnclave{MRSigner: id.MRSigner, ISVProdID: *id.ISVProdID})
}

// equalMasked reports whether the bits of a mask are as wanted.
func equalMasked(got, want, mask []byte) bool {
	for i := range mask {
		if got[i]&mask[i] != want[i] {
			return false
		}
	}
	return true
}
