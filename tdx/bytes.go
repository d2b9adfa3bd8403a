package tdx

import (
	"encoding/hex"
	"fmt"
)

// The fixed-size byte strings of a report body. Their text form, which is also their
// JSON form, is lower-case hexadecimal in memory order.
type (
	// Measurement is a SHA-384 hash.
	Measurement [48]byte
	// TCBSVN is the security versions of the TDX module and of what loads it: 16
	// components. The first two are those of the module, minor and major.
	TCBSVN [16]byte
	// TDID identifies a trust domain.
	TDID [32]byte
	// TEEFMSPC identifies the family of platforms on which a trust domain was launched.
	TEEFMSPC [12]byte
)

// ModuleMajor returns the major version of the TDX module. TCB info has an identity for
// each one but 0.
func (v TCBSVN) ModuleMajor() uint8 { return v[1] }

// ModuleMinor returns the security version of the TDX module within its major version.
func (v TCBSVN) ModuleMinor() uint8 { return v[0] }

// Reaches reports whether each component is at least as high as that of other.
func (v TCBSVN) Reaches(other TCBSVN) bool {
	for i, svn := range other {
		if v[i] < svn {
			return false
		}
	}
	return true
}

func (v Measurement) String() string { return hex.EncodeToString(v[:]) }
func (v TCBSVN) String() string      { return hex.EncodeToString(v[:]) }
func (v TDID) String() string        { return hex.EncodeToString(v[:]) }
func (v TEEFMSPC) String() string    { return hex.EncodeToString(v[:]) }

// MarshalText returns the value in hexadecimal.
func (v Measurement) MarshalText() ([]byte, error) { return []byte(v.String()), nil }
func (v TCBSVN) MarshalText() ([]byte, error)      { return []byte(v.String()), nil }
func (v TDID) MarshalText() ([]byte, error)        { return []byte(v.String()), nil }
func (v TEEFMSPC) MarshalText() ([]byte, error)    { return []byte(v.String()), nil }

// UnmarshalText reads hexadecimal digits, exactly two for each byte.
func (v *Measurement) UnmarshalText(text []byte) error { return decodeHex(v[:], text) }
func (v *TCBSVN) UnmarshalText(text []byte) error      { return decodeHex(v[:], text) }

func decodeHex(dst, text []byte) error {
	if len(text) != hex.EncodedLen(len(dst)) {
		return fmt.Errorf("tdx: decode hexadecimal: %d digits, want %d", len(text), hex.EncodedLen(len(dst)))
	}
	// Decode into a copy: an error must leave dst unchanged.
	b := make([]byte, len(dst))
	if _, err := hex.Decode(b, text); err != nil {
		return fmt.Errorf("tdx: decode hexadecimal: %w", err)
	}
	copy(dst, b)
	return nil
}
