package sgx

import (
	"fmt"
	"strconv"
	"strings"
)

// AttributesSize is the length of the binary form of Attributes.
const AttributesSize = 16

// Attributes are the ATTRIBUTES of an enclave: its flags and the processor
// state components (XFRM) that it may use.
type Attributes struct {
	Flags Flags `json:"flags"`
	XFRM  XFRM  `json:"xfrm"`
}

// Debug tells whether the enclave can be read and changed by a debugger. Such
// an enclave keeps no secret.
func (a Attributes) Debug() bool { return a.Flags&FlagDebug != 0 }

func (a Attributes) String() string { return fmt.Sprintf("%s xfrm %s", a.Flags, a.XFRM) }

// Flags is the first half of ATTRIBUTES. Its text form names the bits that are
// set, joined by "|"; bits without a name follow as one hexadecimal number.
type Flags uint64

// The bits of Flags (SDM volume 3D, table "Layout of ATTRIBUTES").
const (
	FlagInit          Flags = 0x0001 // EINIT has run: the enclave can be entered
	FlagDebug         Flags = 0x0002 // a debugger may read and write the enclave
	FlagMode64Bit     Flags = 0x0004 // the enclave runs in 64-bit mode
	FlagProvisionKey  Flags = 0x0010 // may derive the provisioning keys
	FlagEInitTokenKey Flags = 0x0020 // may derive the launch token key
	FlagKSS           Flags = 0x0080 // key separation and sharing is on
	FlagAEXNotify     Flags = 0x0400 // learns of asynchronous exits
)

// flagNames is the naming of the bits, lowest first.
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

// MarshalText returns what String does.
func (f Flags) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what MarshalText writes.
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
			return fmt.Errorf("sgx: %q is neither the name of an attribute nor a number", word)
		}
		flags |= Flags(bits)
	}
	*f = flags
	return nil
}

// XFRM is the set of extended processor state that the enclave may use, with
// the bits of XCR0: 0x3 is x87 and SSE, 0x7 adds AVX, 0xe7 adds AVX-512.
type XFRM uint64

func (x XFRM) String() string { return fmt.Sprintf("%#x", uint64(x)) }

// MarshalText returns the hexadecimal number, since JSON readers keep only 53
// bits of a number.
func (x XFRM) MarshalText() ([]byte, error) { return []byte(x.String()), nil }

// UnmarshalText reads a number in any of Go's notations.
func (x *XFRM) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 0, 64)
	if err != nil {
		return fmt.Errorf("sgx: xfrm: %w", err)
	}
	*x = XFRM(n)
	return nil
}
