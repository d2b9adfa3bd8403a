package tdx

import (
	"fmt"
	"strconv"
	"strings"
)

// Attributes are the TDATTRIBUTES of a trust domain. Their text form is hexadecimal.
type Attributes uint64

// The bits of Attributes that quotes of trust domains have. All others are reserved.
const (
	AttributeDebug         Attributes = 1 << 0  // a debugger can read and change the trust domain
	AttributeSEPTVEDisable Attributes = 1 << 28 // the host cannot inject a #VE exception by removing a page
	AttributeMigratable    Attributes = 1 << 29 // a migration trust domain can move it to another platform
	AttributePKS           Attributes = 1 << 30 // may use protection keys for its kernel's pages
	AttributeKL            Attributes = 1 << 31 // may use the key locker
	AttributePerfmon       Attributes = 1 << 63 // may use performance monitoring
)

// debugMask is the field TUD (TD under debug), bits 7 to 0 of TDATTRIBUTES: each bit
// makes the trust domain untrusted.
const debugMask Attributes = 0xff

// Debug reports whether a debugger can read and change the trust domain. Such a trust
// domain keeps no secrets.
func (a Attributes) Debug() bool { return a&debugMask != 0 }

// Reserved returns the bits that are set and reserved. What they mean is unknown. Those of
// a trust domain in debug mode are not among them.
func (a Attributes) Reserved() Attributes {
	return a &^ (debugMask | AttributeSEPTVEDisable | AttributeMigratable | AttributePKS | AttributeKL | AttributePerfmon)
}

func (a Attributes) String() string { return Bits(a).String() }

// Describe returns the text that String returns and the names of the bits that are set.
func (a Attributes) Describe() string {
	names := []string{a.String()}
	for _, n := range []struct {
		bit  Attributes
		name string
	}{
		{AttributeDebug, "DEBUG"},
		{AttributeSEPTVEDisable, "SEPT_VE_DISABLE"},
		{AttributeMigratable, "MIGRATABLE"},
		{AttributePKS, "PKS"},
		{AttributeKL, "KL"},
		{AttributePerfmon, "PERFMON"},
	} {
		if a&n.bit != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, " ")
}

// MarshalText returns the text that String returns.
func (a Attributes) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// XFAM is the set of extended processor states that a trust domain may use, with the bits
// of XCR0 and IA32_XSS. Its text form is hexadecimal.
type XFAM uint64

const (
	// XFAMFixed is the bits that every trust domain has: x87 and SSE.
	XFAMFixed XFAM = 0x3
	// XFAMDefined is the bits that TDX 1.5 defines: besides XFAMFixed, AVX (bit 2), AVX-512
	// (5 to 7), processor trace (8), protection keys (9), control-flow enforcement (11, 12),
	// user interrupts (14), last branch records (15), and AMX (17, 18).
	XFAMDefined XFAM = 0x6dbe7
)

func (x XFAM) String() string { return Bits(x).String() }

// MarshalText returns the text that String returns.
func (x XFAM) MarshalText() ([]byte, error) { return []byte(x.String()), nil }

// UnmarshalText reads an integer in Go's syntax, such as 0xe7. One with leading zeros is an error: it
// may be meant as hexadecimal.
func (x *XFAM) UnmarshalText(text []byte) error {
	if len(text) > 1 && text[0] == '0' && (text[1] <= '9' || text[1] == '_') {
		return fmt.Errorf("tdx: unmarshal XFAM: %q starts with 0: want 0x before hexadecimal digits", text)
	}
	n, err := strconv.ParseUint(string(text), 0, 64)
	if err != nil {
		return fmt.Errorf("tdx: unmarshal XFAM: %w", err)
	}
	*x = XFAM(n)
	return nil
}

// Bits are 64 flags. Their text form is hexadecimal: JSON readers keep only 53 bits of
// a number.
type Bits uint64

func (b Bits) String() string { return fmt.Sprintf("%#016x", uint64(b)) }

// MarshalText returns the text that String returns.
func (b Bits) MarshalText() ([]byte, error) { return []byte(b.String()), nil }
