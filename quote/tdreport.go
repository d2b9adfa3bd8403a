package quote

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/confcom/confcom/sgx"
)

// Sizes in bytes of the TD report bodies.
const (
	TDReport10Size = 584
	TDReport15Size = 648
)

// TDReport is the report body of a TDX trust domain.
type TDReport struct {
	TEETCBSVN      sgx.CPUSVN     `json:"teeTCBSVN"`
	MRSEAM         Measurement384 `json:"mrSEAM"`
	MRSignerSEAM   Measurement384 `json:"mrSignerSEAM"`
	SEAMAttributes TDBits         `json:"seamAttributes"`
	TDAttributes   TDBits         `json:"tdAttributes"`
	XFAM           TDBits         `json:"xfam"`
	MRTD           Measurement384 `json:"mrTD"`
	MRConfigID     Measurement384 `json:"mrConfigID"`
	MROwner        Measurement384 `json:"mrOwner"`
	MROwnerConfig  Measurement384 `json:"mrOwnerConfig"`
	// RTMR are the run-time extendable measurement registers.
	RTMR       [4]Measurement384 `json:"rtmr"`
	ReportData sgx.ReportData    `json:"reportData"`

	// TDX15 is what TDX 1.5 appends; nil in a TDX 1.0 body.
	TDX15 *TDX15 `json:"tdx15,omitempty"`
}

// TDX15 is the end of a TDX 1.5 report body. 64 bytes.
type TDX15 struct {
	TEETCBSVN2  sgx.CPUSVN     `json:"teeTCBSVN2"`
	MRServiceTD Measurement384 `json:"mrServiceTD"`
}

// TDBits are 64 flags. Their text form is hexadecimal, since JSON readers keep
// only 53 bits of a number.
type TDBits uint64

func (b TDBits) String() string { return fmt.Sprintf("%#016x", uint64(b)) }

// MarshalText returns what String does.
func (b TDBits) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// Measurement384 is a SHA-384 hash.
type Measurement384 [48]byte

func (v Measurement384) String() string { return hex.EncodeToString(v[:]) }

// MarshalText returns the hash in hex.
func (v Measurement384) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// appendTo appends the 584 or, with TDX15, 648 bytes of the body.
func (t *TDReport) appendTo(p []byte) []byte {
	p = append(p, t.TEETCBSVN[:]...)
	p = append(p, t.MRSEAM[:]...)
	p = append(p, t.MRSignerSEAM[:]...)
	p = binary.LittleEndian.AppendUint64(p, uint64(t.SEAMAttributes))
	p = binary.LittleEndian.AppendUint64(p, uint64(t.TDAttributes))
	p = binary.LittleEndian.AppendUint64(p, uint64(t.XFAM))
	for _, m := range []*Measurement384{&t.MRTD, &t.MRConfigID, &t.MROwner, &t.MROwnerConfig, &t.RTMR[0], &t.RTMR[1], &t.RTMR[2], &t.RTMR[3]} {
		p = append(p, m[:]...)
	}
	p = append(p, t.ReportData[:]...)
	if t.TDX15 != nil {
		p = append(p, t.TDX15.TEETCBSVN2[:]...)
		p = append(p, t.TDX15.MRServiceTD[:]...)
	}
	return p
}

// readTDReport reads a body; bodyType says whether of TDX 1.0 or 1.5.
func readTDReport(r *reader, bodyType BodyType) *TDReport {
	t := &TDReport{}
	r.fill("TEE_TCB_SVN", t.TEETCBSVN[:])
	r.fill("MRSEAM", t.MRSEAM[:])
	r.fill("MRSIGNERSEAM", t.MRSignerSEAM[:])
	t.SEAMAttributes = r.bits("SEAMATTRIBUTES")
	t.TDAttributes = r.bits("TDATTRIBUTES")
	t.XFAM = r.bits("XFAM")
	r.fill("MRTD", t.MRTD[:])
	r.fill("MRCONFIGID", t.MRConfigID[:])
	r.fill("MROWNER", t.MROwner[:])
	r.fill("MROWNERCONFIG", t.MROwnerConfig[:])
	for i := range t.RTMR {
		r.fill("RTMR", t.RTMR[i][:])
	}
	r.fill("REPORTDATA", t.ReportData[:])
	if bodyType == BodyTDX15 {
		t.TDX15 = &TDX15{}
		r.fill("TEE_TCB_SVN_2", t.TDX15.TEETCBSVN2[:])
		r.fill("MRSERVICETD", t.TDX15.MRServiceTD[:])
	}
	return t
}
