package quote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"fmt"

	"github.com/confcom/confcom/sgx"
)

// SignatureData proves who signed the quote, for ECDSA P-256
// (sgx_ql_ecdsa_sig_data_t).
type SignatureData struct {
	// Signature is the attestation key's, over Quote.SignedBytes.
	Signature      Signature `json:"signature"`
	AttestationKey PublicKey `json:"attestationKey"`
	// QEReport binds the attestation key: its report data starts with
	// SHA-256(AttestationKey ‖ QEAuthData).
	QEReport sgx.ReportBody `json:"qeReport"`
	// QEReportSignature is the signature of the key of the PCK certificate over the
	// 384 bytes of QEReport.
	QEReportSignature Signature         `json:"qeReportSignature"`
	QEAuthData        HexBytes          `json:"qeAuthData"`
	CertificationData CertificationData `json:"certificationData"`
}

// Signature is an ECDSA P-256 signature: r ‖ s, 32 bytes big-endian each.
type Signature [64]byte

func (v Signature) String() string { return hex.EncodeToString(v[:]) }

// MarshalText returns the bytes in hexadecimal.
func (v Signature) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads 128 hexadecimal digits.
func (v *Signature) UnmarshalText(text []byte) error {
	if len(text) != 2*len(v) {
		return fmt.Errorf("quote: unmarshal signature: %d hexadecimal digits, want %d", len(text), 2*len(v))
	}
	if _, err := hex.Decode(v[:], text); err != nil {
		return fmt.Errorf("quote: unmarshal signature: %w", err)
	}
	return nil
}

// PublicKey is a P-256 public key: x ‖ y, 32 bytes big-endian each.
type PublicKey [64]byte

func (v PublicKey) String() string { return hex.EncodeToString(v[:]) }

// MarshalText returns the bytes in hexadecimal.
func (v PublicKey) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// ECDSA returns the key for use with crypto/ecdsa. It fails if the point is not on
// the curve.
func (v PublicKey) ECDSA() (*ecdsa.PublicKey, error) {
	const uncompressed = 4
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{uncompressed}, v[:]...))
	if err != nil {
		return nil, fmt.Errorf("quote: attestation key: %w", err)
	}
	return key, nil
}

// HexBytes are bytes whose text form is hexadecimal.
type HexBytes []byte

func (v HexBytes) String() string { return hex.EncodeToString(v) }

// MarshalText returns the bytes in hexadecimal.
func (v HexBytes) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads an even number of hexadecimal digits.
func (v *HexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("quote: decode hexadecimal: %w", err)
	}
	*v = b
	return nil
}
