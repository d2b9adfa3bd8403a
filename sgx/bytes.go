package sgx

import (
	"encoding/hex"
	"fmt"
)

// The fixed-size byte strings of the SGX structures. Their text form, which is
// also their JSON form, is lower-case hexadecimal in memory order.
type (
	// CPUSVN is the security version of the processor and its microcode, in the
	// processor's own encoding: it can be compared for equality only.
	CPUSVN [16]byte
	// Measurement is a SHA-256 hash that identifies an enclave (MRENCLAVE) or the
	// key that signed it (MRSIGNER).
	Measurement [32]byte
	// ReportData is the data that an enclave binds to its REPORT, such as a nonce
	// or the hash of a public key.
	ReportData [64]byte
	// ConfigID identifies the configuration that the enclave was launched with
	// (KSS, key separation and sharing).
	ConfigID [64]byte
	// ID16 is a 16-byte identifier: ISVEXTPRODID and ISVFAMILYID.
	ID16 [16]byte
	// KeyID is the value from which a report key is derived besides its target
	// (wear-out protection).
	KeyID [32]byte
	// MAC is an AES-128-CMAC under the report key of the target enclave.
	MAC [16]byte
)

func (v CPUSVN) String() string      { return hex.EncodeToString(v[:]) }
func (v Measurement) String() string { return hex.EncodeToString(v[:]) }
func (v ReportData) String() string  { return hex.EncodeToString(v[:]) }
func (v ConfigID) String() string    { return hex.EncodeToString(v[:]) }
func (v ID16) String() string        { return hex.EncodeToString(v[:]) }
func (v KeyID) String() string       { return hex.EncodeToString(v[:]) }
func (v MAC) String() string         { return hex.EncodeToString(v[:]) }

// MarshalText returns the value in hexadecimal.
func (v CPUSVN) MarshalText() ([]byte, error)      { return []byte(v.String()), nil }
func (v Measurement) MarshalText() ([]byte, error) { return []byte(v.String()), nil }
func (v ReportData) MarshalText() ([]byte, error)  { return []byte(v.String()), nil }
func (v ConfigID) MarshalText() ([]byte, error)    { return []byte(v.String()), nil }
func (v ID16) MarshalText() ([]byte, error)        { return []byte(v.String()), nil }
func (v KeyID) MarshalText() ([]byte, error)       { return []byte(v.String()), nil }
func (v MAC) MarshalText() ([]byte, error)         { return []byte(v.String()), nil }

// UnmarshalText reads hexadecimal digits, exactly two for each byte.
func (v *CPUSVN) UnmarshalText(text []byte) error      { return decodeHex(v[:], text) }
func (v *Measurement) UnmarshalText(text []byte) error { return decodeHex(v[:], text) }
func (v *ReportData) UnmarshalText(text []byte) error  { return decodeHex(v[:], text) }
func (v *ConfigID) UnmarshalText(text []byte) error    { return decodeHex(v[:], text) }
func (v *ID16) UnmarshalText(text []byte) error        { return decodeHex(v[:], text) }
func (v *KeyID) UnmarshalText(text []byte) error       { return decodeHex(v[:], text) }
func (v *MAC) UnmarshalText(text []byte) error         { return decodeHex(v[:], text) }

func decodeHex(dst, text []byte) error {
	if len(text) != hex.EncodedLen(len(dst)) {
		return fmt.Errorf("sgx: decode hexadecimal: %d digits, want %d", len(text), hex.EncodedLen(len(dst)))
	}
	// Decode into a copy: an error must leave dst unchanged.
	b := make([]byte, len(dst))
	if _, err := hex.Decode(b, text); err != nil {
		return fmt.Errorf("sgx: decode hexadecimal: %w", err)
	}
	copy(dst, b)
	return nil
}
