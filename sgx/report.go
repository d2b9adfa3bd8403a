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

// Offsets in bytes of the fields of a report body (sgx_report_body_t) and, from
// OffsetKeyID on, of a report (sgx_report_t), which starts with a report body.
const (
	OffsetCPUSVN        = 0
	OffsetMiscSelect    = 16
	OffsetCETAttributes = 20
	OffsetISVExtProdID  = 32
	OffsetAttributes    = 48
	OffsetMREnclave     = 64
	OffsetMRSigner      = 128
	OffsetConfigID      = 192
	OffsetISVProdID     = 256
	OffsetISVSVN        = 258
	OffsetConfigSVN     = 260
	OffsetISVFamilyID   = 304
	OffsetReportData    = 320
	OffsetKeyID         = 384
	OffsetMAC           = 416

	offReserved21  = 21
	offReserved96  = 96
	offReserved160 = 160
	offReserved262 = 262
)

// ReportBody is the part of a REPORT that identifies an enclave: what it was
// measured to be, who signed it, and the data that it binds. 384 bytes.
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
	p, _ = b.Attributes.AppendBinary(p)
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

// UnmarshalBinary reads a body of exactly 384 bytes. For any other length it
// returns a *SizeError.
func (b *ReportBody) UnmarshalBinary(p []byte) error {
	if err := checkSize("report body", p, ReportBodySize); err != nil {
		return err
	}
	copy(b.CPUSVN[:], p[OffsetCPUSVN:])
	b.MiscSelect = binary.LittleEndian.Uint32(p[OffsetMiscSelect:])
	b.CETAttributes = p[OffsetCETAttributes]
	copy(b.reserved21[:], p[offReserved21:])
	copy(b.ISVExtProdID[:], p[OffsetISVExtProdID:])
	b.Attributes.read(p[OffsetAttributes:])
	copy(b.MREnclave[:], p[OffsetMREnclave:])
	copy(b.reserved96[:], p[offReserved96:])
	copy(b.MRSigner[:], p[OffsetMRSigner:])
	copy(b.reserved160[:], p[offReserved160:])
	copy(b.ConfigID[:], p[OffsetConfigID:])
	b.ISVProdID = binary.LittleEndian.Uint16(p[OffsetISVProdID:])
	b.ISVSVN = binary.LittleEndian.Uint16(p[OffsetISVSVN:])
	b.ConfigSVN = binary.LittleEndian.Uint16(p[OffsetConfigSVN:])
	copy(b.reserved262[:], p[offReserved262:])
	copy(b.ISVFamilyID[:], p[OffsetISVFamilyID:])
	copy(b.ReportData[:], p[OffsetReportData:])
	return nil
}

// Report is what the EREPORT instruction writes: a body, and a MAC over it that
// only the target enclave on the same processor can check. 432 bytes.
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

// UnmarshalBinary reads a report of exactly 432 bytes. For any other length it
// returns a *SizeError.
func (r *Report) UnmarshalBinary(p []byte) error {
	if err := checkSize("report", p, ReportSize); err != nil {
		return err
	}
	if err := r.Body.UnmarshalBinary(p[:ReportBodySize]); err != nil {
		return err
	}
	copy(r.KeyID[:], p[OffsetKeyID:])
	copy(r.MAC[:], p[OffsetMAC:])
	return nil
}

// SizeError is returned for the binary form of a structure that has the wrong
// length.
type SizeError struct {
	Structure string // for example "report"
	Got, Want int    // lengths in bytes
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("sgx: unmarshal %s: %d bytes, want %d", e.Structure, e.Got, e.Want)
}

func checkSize(structure string, p []byte, want int) error {
	if len(p) != want {
		return &SizeError{Structure: structure, Got: len(p), Want: want}
	}
	return nil
}

// span is a run of reserved bytes and its offset in the structure.
type span struct {
	offset int
	bytes  []byte
}

// firstSet returns the offset in the structure of the first byte that is not zero.
func firstSet(spans ...span) (int, bool) {
	for _, s := range spans {
		if i := slices.IndexFunc(s.bytes, func(b byte) bool { return b != 0 }); i >= 0 {
			return s.offset + i, true
		}
	}
	return 0, false
}
