package quote

import (
	"encoding/hex"
	"fmt"
)

//go:generate stringer -type=AttestationKeyType,TEE,BodyType,CertificationDataType -linecomment -output=types_string.go

// Header is the start of every quote. 48 bytes.
type Header struct {
	Version Version            `json:"version"`
	KeyType AttestationKeyType `json:"attestationKeyType"`
	TEE     TEE                `json:"tee"`
	// QESVN and PCESVN are the security versions of the quoting enclave and of
	// the provisioning certification enclave. Version 3 only.
	QESVN  uint16 `json:"qeSVN"`
	PCESVN uint16 `json:"pceSVN"`
	// VendorID identifies the maker of the quoting enclave.
	VendorID VendorID `json:"qeVendorID"`
	// UserData starts with the 16-byte QE ID of the platform.
	UserData UserData `json:"userData"`
}

// Version is the version of the layout of a quote.
type Version uint16

// The versions that Parse reads.
const (
	Version3 Version = 3 // SGX
	Version4 Version = 4 // SGX and TDX 1.0
	Version5 Version = 5 // with a body descriptor
)

// AttestationKeyType is the algorithm of the attestation key.
type AttestationKeyType uint16

// KeyECDSAP256 is ECDSA over P-256 with SHA-256: the only type in use.
const KeyECDSAP256 AttestationKeyType = 2 // ECDSA-P256

// MarshalText returns the text that String returns.
func (t AttestationKeyType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// TEE is the kind of trusted execution environment that a quote is about.
type TEE uint32

// The TEEs.
const (
	SGX TEE = 0x00
	TDX TEE = 0x81
)

// MarshalText returns the text that String returns.
func (t TEE) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// VendorID is the UUID of the maker of a quoting enclave.
type VendorID [16]byte

// IntelVendorID returns the UUID of Intel's quoting enclaves.
func IntelVendorID() VendorID {
	return VendorID{0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07}
}

func (v VendorID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", v[0:4], v[4:6], v[6:8], v[8:10], v[10:16])
}

// MarshalText returns the text that String returns.
func (v VendorID) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UserData is the part of the header that the QE defines: for Intel's, the QE ID,
// then four zero bytes.
type UserData [20]byte

func (v UserData) String() string { return hex.EncodeToString(v[:]) }

// MarshalText returns the bytes in hexadecimal.
func (v UserData) MarshalText() ([]byte, error) { return []byte(v.String()), nil }
