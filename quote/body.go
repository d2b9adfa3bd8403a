package quote

import (
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// BodyType is the kind of report body. In version 5 it is a field of the quote; in
// versions 3 and 4 it follows from the TEE.
type BodyType uint16

// The body types that Parse reads.
const (
	// BodySGX is the report body of an enclave: sgx.ReportBody, 384 bytes.
	BodySGX BodyType = 1 // SGX enclave
	// BodyTDX10 is the report body of a trust domain of TDX 1.0: tdx.ReportBody, 584 bytes.
	BodyTDX10 BodyType = 2 // TDX 1.0 trust domain
	// BodyTDX15 is the report body of a trust domain of TDX 1.5: tdx.ReportBody, 648 bytes.
	BodyTDX15 BodyType = 3 // TDX 1.5 trust domain
	// BodyTDX15Ex is the extended report body of a trust domain of TDX 1.5: tdx.ReportBody, 885 bytes.
	BodyTDX15Ex BodyType = 4 // TDX 1.5 trust domain, extended
)

// newestBody returns the last body type that quotes of a version can have.
func (v Version) newestBody() BodyType {
	switch v {
	case Version3:
		return BodySGX
	case Version4:
		return BodyTDX10
	}
	return BodyTDX15Ex
}

// size returns the length of a body in bytes, or 0 if the type is unknown.
func (t BodyType) size() int {
	switch t {
	case BodySGX:
		return sgx.ReportBodySize
	case BodyTDX10:
		return tdx.ReportBody10Size
	case BodyTDX15:
		return tdx.ReportBody15Size
	case BodyTDX15Ex:
		return tdx.ReportBody15ExSize
	}
	return 0
}

// MarshalText returns the text that String returns.
func (t BodyType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
