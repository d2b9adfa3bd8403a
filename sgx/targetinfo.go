package sgx

import "encoding/binary"

// TargetInfoSize is the length in bytes of the binary form of TargetInfo.
const TargetInfoSize = 512

// Offsets in bytes of the fields of a TARGETINFO (sgx_target_info_t).
const (
	OffsetTargetMREnclave     = 0
	OffsetTargetAttributes    = 32
	OffsetTargetCETAttributes = 48
	OffsetTargetConfigSVN     = 50
	OffsetTargetMiscSelect    = 52
	OffsetTargetConfigID      = 64

	offTargetReserved49  = 49
	offTargetReserved56  = 56
	offTargetReserved128 = 128
)

// TargetInfo identifies the enclave that will be able to check a REPORT: the
// EREPORT instruction derives that enclave's report key from it. 512 bytes.
type TargetInfo struct {
	MREnclave     Measurement `json:"mrEnclave"`
	Attributes    Attributes  `json:"attributes"`
	CETAttributes uint8       `json:"cetAttributes"`
	ConfigSVN     uint16      `json:"configSVN"`
	MiscSelect    uint32      `json:"miscSelect"`
	ConfigID      ConfigID    `json:"configID"`

	reserved49  [1]byte
	reserved56  [8]byte
	reserved128 [384]byte
}

// Reserved returns the offset of the first reserved byte that is not zero, and
// whether there is one.
func (t TargetInfo) Reserved() (offset int, set bool) {
	return firstSet(
		span{offTargetReserved49, t.reserved49[:]},
		span{offTargetReserved56, t.reserved56[:]},
		span{offTargetReserved128, t.reserved128[:]},
	)
}

// AppendBinary appends the 512 bytes of the structure. The error is always nil.
func (t TargetInfo) AppendBinary(p []byte) ([]byte, error) {
	p = append(p, t.MREnclave[:]...)
	p, _ = t.Attributes.AppendBinary(p)
	p = append(p, t.CETAttributes)
	p = append(p, t.reserved49[:]...)
	p = binary.LittleEndian.AppendUint16(p, t.ConfigSVN)
	p = binary.LittleEndian.AppendUint32(p, t.MiscSelect)
	p = append(p, t.reserved56[:]...)
	p = append(p, t.ConfigID[:]...)
	return append(p, t.reserved128[:]...), nil
}

// MarshalBinary returns the 512 bytes of the structure. The error is always nil.
func (t TargetInfo) MarshalBinary() ([]byte, error) {
	return t.AppendBinary(make([]byte, 0, TargetInfoSize))
}

// UnmarshalBinary reads a structure of exactly 512 bytes. For any other length
// it returns a *SizeError.
func (t *TargetInfo) UnmarshalBinary(p []byte) error {
	if err := checkSize("target info", p, TargetInfoSize); err != nil {
		return err
	}
	copy(t.MREnclave[:], p[OffsetTargetMREnclave:])
	t.Attributes.read(p[OffsetTargetAttributes:])
	t.CETAttributes = p[OffsetTargetCETAttributes]
	copy(t.reserved49[:], p[offTargetReserved49:])
	t.ConfigSVN = binary.LittleEndian.Uint16(p[OffsetTargetConfigSVN:])
	t.MiscSelect = binary.LittleEndian.Uint32(p[OffsetTargetMiscSelect:])
	copy(t.reserved56[:], p[offTargetReserved56:])
	copy(t.ConfigID[:], p[OffsetTargetConfigID:])
	copy(t.reserved128[:], p[offTargetReserved128:])
	return nil
}
