package tdx

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/confcom/confcom/sgx"
)

// Sizes in bytes of the binary form of a ReportBody.
const (
	ReportBody10Size = 584 // TDX 1.0
	ReportBody15Size = 648 // TDX 1.5
)

// Offsets in bytes of the fields of a report body. Those from OffsetTEETCBSVN2 on
// exist since TDX 1.5.
const (
	OffsetTEETCBSVN      = 0
	OffsetMRSEAM         = 16
	OffsetMRSignerSEAM   = 64
	OffsetSEAMAttributes = 112
	OffsetTDAttributes   = 120
	OffsetXFAM           = 128
	OffsetMRTD           = 136
	OffsetMRConfigID     = 184
	OffsetMROwner        = 232
	OffsetMROwnerConfig  = 280
	OffsetRTMR           = 328
	OffsetReportData     = 520
	OffsetTEETCBSVN2     = 584
	OffsetMRServiceTD    = 600
)

// ReportBody is what the TDX module reports on a trust domain.
type ReportBody struct {
	TEETCBSVN      sgx.CPUSVN  `json:"teeTCBSVN"`
	MRSEAM         Measurement `json:"mrSEAM"`
	MRSignerSEAM   Measurement `json:"mrSignerSEAM"`
	SEAMAttributes Bits        `json:"seamAttributes"`
	TDAttributes   Attributes  `json:"tdAttributes"`
	XFAM           Bits        `json:"xfam"`
	MRTD           Measurement `json:"mrTD"`
	MRConfigID     Measurement `json:"mrConfigID"`
	MROwner        Measurement `json:"mrOwner"`
	MROwnerConfig  Measurement `json:"mrOwnerConfig"`
	// RTMR are the run-time extendable measurement registers.
	RTMR       [4]Measurement `json:"rtmr"`
	ReportData sgx.ReportData `json:"reportData"`

	// TDX15 is the part that TDX 1.5 appends; nil in a report body of TDX 1.0.
	TDX15 *ReportBody15 `json:"tdx15,omitempty"`
}

// ReportBody15 is the end of a report body of TDX 1.5. 64 bytes.
type ReportBody15 struct {
	TEETCBSVN2  sgx.CPUSVN  `json:"teeTCBSVN2"`
	MRServiceTD Measurement `json:"mrServiceTD"`
}

// Size returns the length in bytes of the binary form: ReportBody10Size or
// ReportBody15Size.
func (b *ReportBody) Size() int {
	if b.TDX15 != nil {
		return ReportBody15Size
	}
	return ReportBody10Size
}

// AppendBinary appends the 584 or, with TDX15, 648 bytes of the body. The error is
// always nil.
func (b *ReportBody) AppendBinary(p []byte) ([]byte, error) {
	p = append(p, b.TEETCBSVN[:]...)
	p = append(p, b.MRSEAM[:]...)
	p = append(p, b.MRSignerSEAM[:]...)
	p = binary.LittleEndian.AppendUint64(p, uint64(b.SEAMAttributes))
	p = binary.LittleEndian.AppendUint64(p, uint64(b.TDAttributes))
	p = binary.LittleEndian.AppendUint64(p, uint64(b.XFAM))
	p = append(p, b.MRTD[:]...)
	p = append(p, b.MRConfigID[:]...)
	p = append(p, b.MROwner[:]...)
	p = append(p, b.MROwnerConfig[:]...)
	for i := range b.RTMR {
		p = append(p, b.RTMR[i][:]...)
	}
	p = append(p, b.ReportData[:]...)
	if b.TDX15 != nil {
		p = append(p, b.TDX15.TEETCBSVN2[:]...)
		p = append(p, b.TDX15.MRServiceTD[:]...)
	}
	return p, nil
}

// MarshalBinary returns the 584 or, with TDX15, 648 bytes of the body. The error is
// always nil.
func (b *ReportBody) MarshalBinary() ([]byte, error) {
	return b.AppendBinary(make([]byte, 0, b.Size()))
}

// UnmarshalBinary reads a body of exactly 584 bytes (TDX 1.0) or 648 bytes (TDX 1.5).
// For any other length it returns a *SizeError.
func (b *ReportBody) UnmarshalBinary(p []byte) error {
	if len(p) != ReportBody10Size && len(p) != ReportBody15Size {
		return &SizeError{Got: len(p)}
	}
	copy(b.TEETCBSVN[:], p[OffsetTEETCBSVN:])
	copy(b.MRSEAM[:], p[OffsetMRSEAM:])
	copy(b.MRSignerSEAM[:], p[OffsetMRSignerSEAM:])
	b.SEAMAttributes = Bits(binary.LittleEndian.Uint64(p[OffsetSEAMAttributes:]))
	b.TDAttributes = Attributes(binary.LittleEndian.Uint64(p[OffsetTDAttributes:]))
	b.XFAM = Bits(binary.LittleEndian.Uint64(p[OffsetXFAM:]))
	copy(b.MRTD[:], p[OffsetMRTD:])
	copy(b.MRConfigID[:], p[OffsetMRConfigID:])
	copy(b.MROwner[:], p[OffsetMROwner:])
	copy(b.MROwnerConfig[:], p[OffsetMROwnerConfig:])
	for i := range b.RTMR {
		copy(b.RTMR[i][:], p[OffsetRTMR+i*len(b.RTMR[i]):])
	}
	copy(b.ReportData[:], p[OffsetReportData:])
	b.TDX15 = nil
	if len(p) == ReportBody15Size {
		b.TDX15 = new(ReportBody15)
		copy(b.TDX15.TEETCBSVN2[:], p[OffsetTEETCBSVN2:])
		copy(b.TDX15.MRServiceTD[:], p[OffsetMRServiceTD:])
	}
	return nil
}

// SizeError is returned for the binary form of a report body that has the wrong
// length.
type SizeError struct {
	Got int // bytes
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("tdx: unmarshal report body: %d bytes, want %d (TDX 1.0) or %d (TDX 1.5)", e.Got, ReportBody10Size, ReportBody15Size)
}

// Attributes are the TDATTRIBUTES of a trust domain. Their text form is hexadecimal.
type Attributes uint64

// debugMask is the field TUD (TD under debug), bits 7 to 0 of TDATTRIBUTES: each bit
// makes the trust domain untrusted.
const debugMask = 0xff

// Debug reports whether a debugger can read and change the trust domain. Such a trust
// domain keeps no secrets.
func (a Attributes) Debug() bool { return a&debugMask != 0 }

func (a Attributes) String() string { return Bits(a).String() }

// MarshalText returns the text that String returns.
func (a Attributes) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// Bits are 64 flags. Their text form is hexadecimal: JSON readers keep only 53 bits of
// a number.
type Bits uint64

func (b Bits) String() string { return fmt.Sprintf("%#016x", uint64(b)) }

// MarshalText returns the text that String returns.
func (b Bits) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// Measurement is a SHA-384 hash. Its text form is lower-case hexadecimal in memory
// order.
type Measurement [48]byte

func (v Measurement) String() string { return hex.EncodeToString(v[:]) }

// MarshalText returns the hash in hexadecimal.
func (v Measurement) MarshalText() ([]byte, error) { return []byte(v.String()), nil }
