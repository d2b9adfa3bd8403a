package tdx

import (
	"encoding/binary"
	"fmt"

	"github.com/confcom/confcom/sgx"
)

// Sizes in bytes of the binary form of a ReportBody.
const (
	ReportBody10Size   = 584 // TDX 1.0
	ReportBody15Size   = 648 // TDX 1.5
	ReportBody15ExSize = 885 // TDX 1.5 extended
)

// Offsets in bytes of the fields of a report body. Those from OffsetTEETCBSVN2 on
// exist since TDX 1.5, those from OffsetVMID on in its extended form.
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

	OffsetTEETCBSVN2  = 584
	OffsetMRServiceTD = 600

	OffsetVMID                       = 648
	OffsetTDID                       = 649
	OffsetDevInfo                    = 681
	OffsetInitServiceTDHash          = 729
	OffsetInitServiceTDAttributes    = 777
	OffsetInitCPUSVN                 = 785
	OffsetInitTEETCBSVN              = 801
	OffsetInitTEEFMSPC               = 817
	OffsetCurrentServiceTDHash       = 829
	OffsetCurrentServiceTDAttributes = 877
)

// ReportBody is what the TDX module reports on a trust domain.
type ReportBody struct {
	// TEETCBSVN is the security versions when the trust domain was launched.
	TEETCBSVN TCBSVN `json:"teeTCBSVN"`
	// MRSEAM is the hash of the TDX module, MRSignerSEAM that of its signer: zero for
	// Intel's.
	MRSEAM         Measurement `json:"mrSEAM"`
	MRSignerSEAM   Measurement `json:"mrSignerSEAM"`
	SEAMAttributes Bits        `json:"seamAttributes"`
	TDAttributes   Attributes  `json:"tdAttributes"`
	XFAM           XFAM        `json:"xfam"`
	// MRTD is the hash of the memory with which the trust domain was launched: its
	// firmware.
	MRTD Measurement `json:"mrTD"`
	// MRConfigID, MROwner and MROwnerConfig are what the host has set at launch.
	MRConfigID    Measurement `json:"mrConfigID"`
	MROwner       Measurement `json:"mrOwner"`
	MROwnerConfig Measurement `json:"mrOwnerConfig"`
	// RTMR are the run-time extendable measurement registers.
	RTMR       [4]Measurement `json:"rtmr"`
	ReportData sgx.ReportData `json:"reportData"`

	// TDX15 is the part that TDX 1.5 appends; nil in a report body of TDX 1.0.
	TDX15 *ReportBody15 `json:"tdx15,omitempty"`
}

// ReportBody15 is the end of a report body of TDX 1.5.
type ReportBody15 struct {
	// TEETCBSVN2 is the security versions at present: the TDX module can be updated
	// while trust domains run.
	TEETCBSVN2 TCBSVN `json:"teeTCBSVN2"`
	// MRServiceTD identifies the service trust domains that the trust domain is bound
	// to, such as one that migrates it; zero if there are none.
	MRServiceTD Measurement `json:"mrServiceTD"`

	// Ex is the part that the extended form appends; nil without it.
	Ex *ReportBody15Ex `json:"ex,omitempty"`
}

// ReportBody15Ex is the end of a report body of TDX 1.5 extended: where the
// trust domain was launched, if it has been migrated or its TDX module was updated since.
type ReportBody15Ex struct {
	VMID                       uint8       `json:"vmID"` // of the partition
	TDID                       TDID        `json:"tdID"`
	DevInfo                    Measurement `json:"devInfo"`
	InitServiceTDHash          Measurement `json:"initServiceTDHash"`
	InitServiceTDAttributes    Bits        `json:"initServiceTDAttributes"`
	InitCPUSVN                 sgx.CPUSVN  `json:"initCPUSVN"`
	InitTEETCBSVN              TCBSVN      `json:"initTEETCBSVN"`
	InitTEEFMSPC               TEEFMSPC    `json:"initTEEFMSPC"`
	CurrentServiceTDHash       Measurement `json:"currentServiceTDHash"`
	CurrentServiceTDAttributes Bits        `json:"currentServiceTDAttributes"`
}

// Size returns the length in bytes of the binary form: ReportBody10Size,
// ReportBody15Size or ReportBody15ExSize.
func (b *ReportBody) Size() int {
	switch {
	case b.TDX15 == nil:
		return ReportBody10Size
	case b.TDX15.Ex == nil:
		return ReportBody15Size
	}
	return ReportBody15ExSize
}

// AppendBinary appends the bytes of the body, as many as Size returns. The error is
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
		p = b.TDX15.append(p)
	}
	return p, nil
}

func (b *ReportBody15) append(p []byte) []byte {
	p = append(p, b.TEETCBSVN2[:]...)
	p = append(p, b.MRServiceTD[:]...)
	if b.Ex != nil {
		p = b.Ex.append(p)
	}
	return p
}

func (b *ReportBody15Ex) append(p []byte) []byte {
	p = append(p, b.VMID)
	p = append(p, b.TDID[:]...)
	p = append(p, b.DevInfo[:]...)
	p = append(p, b.InitServiceTDHash[:]...)
	p = binary.LittleEndian.AppendUint64(p, uint64(b.InitServiceTDAttributes))
	p = append(p, b.InitCPUSVN[:]...)
	p = append(p, b.InitTEETCBSVN[:]...)
	p = append(p, b.InitTEEFMSPC[:]...)
	p = append(p, b.CurrentServiceTDHash[:]...)
	return binary.LittleEndian.AppendUint64(p, uint64(b.CurrentServiceTDAttributes))
}

// MarshalBinary returns the bytes of the body, as many as Size returns. The error is
// always nil.
func (b *ReportBody) MarshalBinary() ([]byte, error) {
	return b.AppendBinary(make([]byte, 0, b.Size()))
}

// UnmarshalBinary reads a body of exactly 584 bytes (TDX 1.0), 648 bytes (TDX 1.5) or
// 885 bytes (TDX 1.5 extended). For any other length it returns a *SizeError.
func (b *ReportBody) UnmarshalBinary(p []byte) error {
	if len(p) != ReportBody10Size && len(p) != ReportBody15Size && len(p) != ReportBody15ExSize {
		return &SizeError{Got: len(p)}
	}
	copy(b.TEETCBSVN[:], p[OffsetTEETCBSVN:])
	copy(b.MRSEAM[:], p[OffsetMRSEAM:])
	copy(b.MRSignerSEAM[:], p[OffsetMRSignerSEAM:])
	b.SEAMAttributes = Bits(binary.LittleEndian.Uint64(p[OffsetSEAMAttributes:]))
	b.TDAttributes = Attributes(binary.LittleEndian.Uint64(p[OffsetTDAttributes:]))
	b.XFAM = XFAM(binary.LittleEndian.Uint64(p[OffsetXFAM:]))
	copy(b.MRTD[:], p[OffsetMRTD:])
	copy(b.MRConfigID[:], p[OffsetMRConfigID:])
	copy(b.MROwner[:], p[OffsetMROwner:])
	copy(b.MROwnerConfig[:], p[OffsetMROwnerConfig:])
	for i := range b.RTMR {
		copy(b.RTMR[i][:], p[OffsetRTMR+i*len(b.RTMR[i]):])
	}
	copy(b.ReportData[:], p[OffsetReportData:])
	b.TDX15 = nil
	if len(p) >= ReportBody15Size {
		b.TDX15 = new(ReportBody15)
		b.TDX15.read(p)
	}
	return nil
}

// read reads the end of a report body p of TDX 1.5.
func (b *ReportBody15) read(p []byte) {
	copy(b.TEETCBSVN2[:], p[OffsetTEETCBSVN2:])
	copy(b.MRServiceTD[:], p[OffsetMRServiceTD:])
	if len(p) == ReportBody15ExSize {
		b.Ex = new(ReportBody15Ex)
		b.Ex.read(p)
	}
}

// read reads the end of a report body p of TDX 1.5 extended.
func (b *ReportBody15Ex) read(p []byte) {
	b.VMID = p[OffsetVMID]
	copy(b.TDID[:], p[OffsetTDID:])
	copy(b.DevInfo[:], p[OffsetDevInfo:])
	copy(b.InitServiceTDHash[:], p[OffsetInitServiceTDHash:])
	b.InitServiceTDAttributes = Bits(binary.LittleEndian.Uint64(p[OffsetInitServiceTDAttributes:]))
	copy(b.InitCPUSVN[:], p[OffsetInitCPUSVN:])
	copy(b.InitTEETCBSVN[:], p[OffsetInitTEETCBSVN:])
	copy(b.InitTEEFMSPC[:], p[OffsetInitTEEFMSPC:])
	copy(b.CurrentServiceTDHash[:], p[OffsetCurrentServiceTDHash:])
	b.CurrentServiceTDAttributes = Bits(binary.LittleEndian.Uint64(p[OffsetCurrentServiceTDAttributes:]))
}

// SizeError is returned for the binary form of a report body that has the wrong
// length.
type SizeError struct {
	Got int // bytes
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("tdx: unmarshal report body: %d bytes, want %d (TDX 1.0), %d (TDX 1.5) or %d (TDX 1.5 extended)",
		e.Got, ReportBody10Size, ReportBody15Size, ReportBody15ExSize)
}
