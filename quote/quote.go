package quote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"fmt"

	"github.com/confcom/confcom/sgx"
)

// Quote is a parsed quote. Exactly one of Enclave and TD is set, as BodyType
// says.
type Quote struct {
	Header   Header          `json:"header"`
	BodyType BodyType        `json:"bodyType"`
	Enclave  *sgx.ReportBody `json:"enclave,omitempty"`
	TD       *TDReport       `json:"td,omitempty"`
	// Signature is everything behind the signature data length.
	Signature SignatureData `json:"signature"`
}

// ReportData returns what the enclave or trust domain bound to the quote.
func (q *Quote) ReportData() sgx.ReportData {
	if q.TD != nil {
		return q.TD.ReportData
	}
	return q.Enclave.ReportData
}

// Header is the start of every quote. 48 bytes.
type Header struct {
	Version Version            `json:"version"`
	KeyType AttestationKeyType `json:"attestationKeyType"`
	TEE     TEE                `json:"tee"`
	// QESVN and PCESVN are the security versions of the quoting enclave and of
	// the provisioning certification enclave. Version 3 only.
	QESVN  uint16 `json:"qeSVN"`
	PCESVN uint16 `json:"pceSVN"`
	// VendorID names who made the quoting enclave.
	VendorID VendorID `json:"qeVendorID"`
	// UserData starts with the 16-byte QE ID of the platform.
	UserData UserData `json:"userData"`
}

// Version is the layout of a quote.
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
const KeyECDSAP256 AttestationKeyType = 2

func (t AttestationKeyType) String() string {
	if t == KeyECDSAP256 {
		return "ECDSA-P256"
	}
	return fmt.Sprintf("unknown (%d)", uint16(t))
}

// MarshalText returns what String does.
func (t AttestationKeyType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// TEE is the kind of trusted execution environment that is quoted.
type TEE uint32

// The kinds that exist.
const (
	SGX TEE = 0x00
	TDX TEE = 0x81
)

func (t TEE) String() string {
	switch t {
	case SGX:
		return "SGX"
	case TDX:
		return "TDX"
	}
	return fmt.Sprintf("unknown (%#x)", uint32(t))
}

// MarshalText returns what String does.
func (t TEE) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// BodyType is the kind of report body. Version 5 writes it; in versions 3 and
// 4 it follows from the TEE.
type BodyType uint16

// The body types that Parse reads.
const (
	BodySGX   BodyType = 1 // an enclave's report body, 384 bytes
	BodyTDX10 BodyType = 2 // a TD report of TDX 1.0, 584 bytes
	BodyTDX15 BodyType = 3 // a TD report of TDX 1.5, 648 bytes
)

// size returns the length of a body in bytes, 0 when the type is unknown.
func (t BodyType) size() int {
	switch t {
	case BodySGX:
		return sgx.ReportBodySize
	case BodyTDX10:
		return TDReport10Size
	case BodyTDX15:
		return TDReport15Size
	}
	return 0
}

func (t BodyType) String() string {
	switch t {
	case BodySGX:
		return "SGX enclave"
	case BodyTDX10:
		return "TDX 1.0 trust domain"
	case BodyTDX15:
		return "TDX 1.5 trust domain"
	}
	return fmt.Sprintf("unknown (%d)", uint16(t))
}

// MarshalText returns what String does.
func (t BodyType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// VendorID is the UUID of the maker of a quoting enclave.
type VendorID [16]byte

// IntelVendorID returns the UUID of Intel's quoting enclaves.
func IntelVendorID() VendorID {
	return VendorID{0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07}
}

func (v VendorID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", v[0:4], v[4:6], v[6:8], v[8:10], v[10:16])
}

// MarshalText returns what String does.
func (v VendorID) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UserData is the free part of the header: the QE ID, then four bytes that
// Intel's QE leaves zero.
type UserData [20]byte

func (v UserData) String() string { return hex.EncodeToString(v[:]) }

// MarshalText returns the bytes in hex.
func (v UserData) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// SignatureData is the signed part's proof, for ECDSA P-256.
type SignatureData struct {
	// Signature is by the attestation key over SignedBytes.
	Signature      Signature `json:"signature"`
	AttestationKey PublicKey `json:"attestationKey"`
	// QEReport binds the attestation key: its report data starts with
	// SHA-256(AttestationKey ‖ QEAuthData).
	QEReport sgx.ReportBody `json:"qeReport"`
	// QEReportSignature is by the PCK over the 384 bytes of QEReport.
	QEReportSignature Signature         `json:"qeReportSignature"`
	QEAuthData        HexBytes          `json:"qeAuthData"`
	CertificationData CertificationData `json:"certificationData"`
}

// Signature is an ECDSA P-256 signature: r ‖ s, 32 bytes big-endian each.
type Signature [64]byte

func (v Signature) String() string { return hex.EncodeToString(v[:]) }

// MarshalText returns the bytes in hex.
func (v Signature) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads hex.
func (v *Signature) UnmarshalText(text []byte) error {
	if len(text) != 2*len(v) {
		return fmt.Errorf("quote: a signature has %d digits, not %d", 2*len(v), len(text))
	}
	if _, err := hex.Decode(v[:], text); err != nil {
		return fmt.Errorf("quote: %w", err)
	}
	return nil
}

// PublicKey is a P-256 public key: x ‖ y, 32 bytes big-endian each.
type PublicKey [64]byte

func (v PublicKey) String() string { return hex.EncodeToString(v[:]) }

// MarshalText returns the bytes in hex.
func (v PublicKey) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// ECDSA returns the key for use with crypto/ecdsa. It fails where the point is
// not on the curve.
func (v PublicKey) ECDSA() (*ecdsa.PublicKey, error) {
	const uncompressed = 4
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{uncompressed}, v[:]...))
	if err != nil {
		return nil, fmt.Errorf("quote: attestation key: %w", err)
	}
	return key, nil
}

// HexBytes are bytes with hex as their text form.
type HexBytes []byte

func (v HexBytes) String() string { return hex.EncodeToString(v) }

// MarshalText returns the bytes in hex.
func (v HexBytes) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads hex.
func (v *HexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("quote: %w", err)
	}
	*v = b
	return nil
}
