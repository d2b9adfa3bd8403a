package sgx

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Sizes in bytes of the binary forms.
const (
	ReportSize     = 432
	ReportBodySize = 384
)

// Offsets in a report body and, behind it, in a report.
const (
	offMiscSelect    = 16
	offCETAttributes = 20
	offReserved21    = 21
	offISVExtProdID  = 32
	offAttributes    = 48
	offMREnclave     = 64
	offReserved96    = 96
	offMRSigner      = 128
	offReserved160   = 160
	offConfigID      = 192
	offISVProdID     = 256
	offISVSVN        = 258
	offConfigSVN     = 260
	offReserved262   = 262
	offISVFamilyID   = 304
	offReportData    = 320
	offKeyID         = 384
	offMAC           = 416
)

// ReportBody is the part of a REPORT that says which enclave it speaks of. A
// quote carries it as the enclave's identity. 384 bytes.
type ReportBody struct {
	CPUSVN        CPUSVN      `json:"cpuSVN"`
	MiscSelect    uint32      `json:"miscSelect"`
	CETAttributes uint8       `json:"cetAttributes"`
	ISVExtProdID  ID16        `json:"isvExtProdID"`
	Attributes    Attributes  `json:"attributes"`
	MREnclave     Measurement `json:"mrEnclave"`
	MRSigner      Measurement `json:"mrSigner"`
	ConfigID      ConfigID    `json:"configID"`
	ISVProdID     uint16      `json:"isvProdID"`
	ISVSVN        uint16      `json:"isvSVN"`
	ConfigSVN     uint16      `json:"configSVN"`
	ISVFamilyID   ID16        `json:"isvFamilyID"`
	ReportData    ReportData  `json:"reportData"`

	reserved21  [11]byte
	reserved96  [32]byte
	reserved160 [32]byte
	reserved262 [42]byte
}

// Reserved returns the offset in the body of the first reserved byte that is
// not zero, and whether there is one.
func (b ReportBody) Reserved() (offset int, set bool) {
	return firstSet(
		span{offReserved21, b.reserved21[:]},
		span{offReserved96, b.reserved96[:]},
		span{offReserved160, b.reserved160[:]},
		span{offReserved262, b.reserved262[:]},
	)
}

// AppendBinary appends the 384 bytes of the body. The error is always nil.
func (b ReportBody) AppendBinary(p []byte) ([]byte, error) {
	p = append(p, b.CPUSVN[:]...)
	p = binary.LittleEndian.AppendUint32(p, b.MiscSelect)
	p = append(p, b.CETAttributes)
	p = append(p, b.reserved21[:]...)
	p = append(p, b.ISVExtProdID[:]...)
	p = b.Attributes.append(p)
	p = append(p, b.MREnclave[:]...)
	p = append(p, b.reserved96[:]...)
	p = append(p, b.MRSigner[:]...)
	p = append(p, b.reserved160[:]...)
	p = append(p, b.ConfigID[:]...)
	p = binary.LittleEndian.AppendUint16(p, b.ISVProdID)
	p = binary.LittleEndian.AppendUint16(p, b.ISVSVN)
	p = binary.LittleEndian.AppendUint16(p, b.ConfigSVN)
	p = append(p, b.reserved262[:]...)
	p = append(p, b.ISVFamilyID[:]...)
	p = append(p, b.ReportData[:]...)
	return p, nil
}

// MarshalBinary returns the 384 bytes of the body. The error is always nil.
func (b ReportBody) MarshalBinary() ([]byte, error) {
	return b.AppendBinary(make([]byte, 0, ReportBodySize))
}

// UnmarshalBinary reads a body of exactly 384 bytes, else it is a *SizeError.
func (b *ReportBody) UnmarshalBinary(p []byte) error {
	if err := checkSize("report body", p, ReportBodySize); err != nil {
		return err
	}
	copy(b.CPUSVN[:], p)
	b.MiscSelect = binary.LittleEndian.Uint32(p[offMiscSelect:])
	b.CETAttributes = p[offCETAttributes]
	copy(b.reserved21[:], p[offReserved21:])
	copy(b.ISVExtProdID[:], p[offISVExtProdID:])
	b.Attributes.read(p[offAttributes:])
	copy(b.MREnclave[:], p[offMREnclave:])
	copy(b.reserved96[:], p[offReserved96:])
	copy(b.MRSigner[:], p[offMRSigner:])
	copy(b.reserved160[:], p[offReserved160:])
	copy(b.ConfigID[:], p[offConfigID:])
	b.ISVProdID = binary.LittleEndian.Uint16(p[offISVProdID:])
	b.ISVSVN = binary.LittleEndian.Uint16(p[offISVSVN:])
	b.ConfigSVN = binary.LittleEndian.Uint16(p[offConfigSVN:])
	copy(b.reserved262[:], p[offReserved262:])
	copy(b.ISVFamilyID[:], p[offISVFamilyID:])
	copy(b.ReportData[:], p[offReportData:])
	return nil
}

// Report is what EREPORT writes: a body, and a MAC over it that only the target
// enclave on the same processor can check. 432 bytes.
type Report struct {
	Body  ReportBody `json:"body"`
	KeyID KeyID      `json:"keyID"`
	// MAC covers the 384 bytes of the body, not the key ID.
	MAC MAC `json:"mac"`
}

// AppendBinary appends the 432 bytes of the report. The error is always nil.
func (r Report) AppendBinary(p []byte) ([]byte, error) {
	p, _ = r.Body.AppendBinary(p)
	p = append(p, r.KeyID[:]...)
	return append(p, r.MAC[:]...), nil
}

// MarshalBinary returns the 432 bytes of the report. The error is always nil.
func (r Report) MarshalBinary() ([]byte, error) {
	return r.AppendBinary(make([]byte, 0, ReportSize))
}

// UnmarshalBinary reads a report of exactly 432 bytes, else it is a *SizeError.
func (r *Report) UnmarshalBinary(p []byte) error {
	if err := checkSize("report", p, ReportSize); err != nil {
		return err
	}
	if err := r.Body.UnmarshalBinary(p[:ReportBodySize]); err != nil {
		return err
	}
	copy(r.KeyID[:], p[offKeyID:])
	copy(r.MAC[:], p[offMAC:])
	return nil
}

// SizeError says that a structure has not the one size that it can have.
type SizeError struct {
	Structure string // which, for example "report"
	Got, Want int    // bytes
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("sgx: a %s has %d bytes, not %d", e.Structure, e.Want, e.Got)
}

func checkSize(structure string, p []byte, want int) error {
	if len(p) != want {
		return &SizeError{Structure: structure, Got: len(p), Want: want}
	}
	return nil
}

func (a Attributes) append(p []byte) []byte {
	p = binary.LittleEndian.AppendUint64(p, uint64(a.Flags))
	return binary.LittleEndian.AppendUint64(p, uint64(a.XFRM))
}

func (a *Attributes) read(p []byte) {
	a.Flags = Flags(binary.LittleEndian.Uint64(p))
	a.XFRM = XFRM(binary.LittleEndian.Uint64(p[8:]))
}

// span is a run of reserved bytes and where it starts.
type span struct {
	offset int
	bytes  []byte
}

func firstSet(spans ...span) (int, bool) {
	for _, s := range spans {
		if i := slices.IndexFunc(s.bytes, func(b byte) bool { return b != 0 }); i >= 0 {
			return s.offset + i, true
		}
	}
	return 0, false
}
