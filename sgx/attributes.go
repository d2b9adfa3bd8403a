package sgx

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// AttributesSize is the length in bytes of the binary form of Attributes.
const AttributesSize = 16

// Attributes are the ATTRIBUTES of an enclave: its flags and the processor
// state components (XFRM) that it may use.
type Attributes struct {
	Flags Flags `json:"flags"`
	XFRM  XFRM  `json:"xfrm"`
}

// Debug reports whether a debugger can read and change the enclave. Such an
// enclave keeps no secrets.
func (a Attributes) Debug() bool { return a.Flags&FlagDebug != 0 }

// AppendBinary appends the 16 bytes of the attributes (sgx_attributes_t): flags,
// then XFRM. The error is always nil.
func (a Attributes) AppendBinary(p []byte) ([]byte, error) {
	p = binary.LittleEndian.AppendUint64(p, uint64(a.Flags))
	return binary.LittleEndian.AppendUint64(p, uint64(a.XFRM)), nil
}

// MarshalBinary returns the 16 bytes of the attributes. The error is always nil.
func (a Attributes) MarshalBinary() ([]byte, error) {
	return a.AppendBinary(make([]byte, 0, AttributesSize))
}

// UnmarshalBinary reads attributes of exactly 16 bytes. For any other length it
// returns a *SizeError.
func (a *Attributes) UnmarshalBinary(p []byte) error {
	if err := checkSize("attributes", p, AttributesSize); err != nil {
		return err
	}
	a.read(p)
	return nil
}

func (a *Attributes) read(p []byte) {
	a.Flags = Flags(binary.LittleEndian.Uint64(p))
	a.XFRM = XFRM(binary.LittleEndian.Uint64(p[8:]))
}

func (a Attributes) String() string { return fmt.Sprintf("%s xfrm %s", a.Flags, a.XFRM) }

// Flags is the first half of ATTRIBUTES. Its text form is the names of the bits
// that are set, joined by "|", followed by the bits without a name as one
// hexadecimal number.
type Flags uint64

// The bits of Flags (SDM volume 3D, table "Layout of ATTRIBUTES").
const (
	FlagInit          Flags = 0x0001 // EINIT has run: the enclave can be entered
	FlagDebug         Flags = 0x0002 // a debugger can read and write the enclave
	FlagMode64Bit     Flags = 0x0004 // the enclave runs in 64-bit mode
	FlagProvisionKey  Flags = 0x0010 // may derive the provisioning keys
	FlagEInitTokenKey Flags = 0x0020 // may derive the launch token key
	FlagKSS           Flags = 0x0080 // key separation and sharing is enabled
	FlagAEXNotify     Flags = 0x0400 // is notified of asynchronous exits
)

// flagNames returns the names of the bits, lowest bit first.
func flagNames() []struct {
	bit  Flags
	name string
} {
	return []struct {
		bit  Flags
		name string
	}{
		{FlagInit, "INIT"},
		{FlagDebug, "DEBUG"},
		{FlagMode64Bit, "MODE64BIT"},
		{FlagProvisionKey, "PROVISION_KEY"},
		{FlagEInitTokenKey, "EINITTOKEN_KEY"},
		{FlagKSS, "KSS"},
		{FlagAEXNotify, "AEX_NOTIFY"},
	}
}

func (f Flags) String() string {
	var names []string
	for _, n := range flagNames() {
		if f&n.bit != 0 {
			names = append(names, n.name)
			f &^= n.bit
		}
	}
	if f != 0 || names == nil {
		names = append(names, fmt.Sprintf("%#x", uint64(f)))
	}
	return strings.Join(names, "|")
}

// MarshalText returns the text that String returns.
func (f Flags) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads the text that MarshalText returns. An unknown name is an
// error.
func (f *Flags) UnmarshalText(text []byte) error {
	var flags Flags
next:
	for word := range strings.SplitSeq(string(text), "|") {
		for _, n := range flagNames() {
			if word == n.name {
				flags |= n.bit
				continue next
			}
		}
		bits, err := strconv.ParseUint(word, 0, 64)
		if err != nil {
			return fmt.Errorf("sgx: unmarshal flags: %q is neither the name of a flag nor a number", word)
		}
		flags |= Flags(bits)
	}
	*f = flags
	return nil
}

// XFRM is the set of extended processor states that the enclave may use, with
// the bits of XCR0: 0x3 is x87 and SSE, 0x7 adds AVX, 0xe7 adds AVX-512.
type XFRM uint64

func (x XFRM) String() string { return fmt.Sprintf("%#x", uint64(x)) }

// MarshalText returns a hexadecimal number: JSON readers keep only 53 bits of a
// number.
func (x XFRM) MarshalText() ([]byte, error) { return []byte(x.String()), nil }

// UnmarshalText reads an integer in any base of Go's syntax.
func (x *XFRM) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 0, 64)
	if err != nil {
		return fmt.Errorf("sgx: unmarshal xfrm: %w", err)
	}
	*x = XFRM(n)
	return nil
}
