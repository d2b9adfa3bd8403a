package attest

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"

	"github.com/confcom/confcom/internal/strictjson"
)

// Bits are bits of a report body. Their text form is hexadecimal: JSON readers keep only 53 bits
// of a number.
type Bits uint64

func (b Bits) String() string { return fmt.Sprintf("%#x", uint64(b)) }

// MarshalText returns the text that String returns.
func (b Bits) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads an integer in Go's syntax, such as 0x90. One with leading zeros is an error: it
// may be meant as hexadecimal.
func (b *Bits) UnmarshalText(text []byte) error {
	if len(text) > 1 && text[0] == '0' && (text[1] <= '9' || text[1] == '_') {
		return fmt.Errorf("attest: unmarshal bits: %q starts with 0: want 0x before hexadecimal digits", text)
	}
	n, err := strconv.ParseUint(string(text), 0, 64)
	if err != nil {
		return fmt.Errorf("attest: unmarshal bits: %w", err)
	}
	*b = Bits(n)
	return nil
}

// Masked is a requirement on some bits: those of Mask must be as in Value.
type Masked struct {
	Value Bits `json:"value"`
	Mask  Bits `json:"mask"`
}

// UnmarshalJSON reads an object with both members.
func (m *Masked) UnmarshalJSON(text []byte) error {
	var read struct {
		Value *Bits `json:"value"`
		Mask  *Bits `json:"mask"`
	}
	if err := strictjson.Unmarshal(text, &read); err != nil {
		return err
	}
	if read.Value == nil || read.Mask == nil {
		return errors.New(`want an object with "value" and "mask"`)
	}
	*m = Masked{*read.Value, *read.Mask}
	return nil
}

// check checks that the requirement, on a field of so many bits, can be met, and requires
// something.
func (m *Masked) check(size int) error {
	switch {
	case m == nil:
		return nil
	case m.Mask == 0:
		return errors.New("the mask is 0, which requires nothing: leave it out")
	case bits.Len64(uint64(m.Mask)) > size:
		return fmt.Errorf("the mask is %s, but the field has %d bits", m.Mask, size)
	case m.Value&^m.Mask != 0:
		return fmt.Errorf("the value has bits outside the mask (%s), so nothing meets it", m.Value&^m.Mask)
	}
	return nil
}

// clone returns a copy, or nil for nil.
func (m *Masked) clone() *Masked {
	if m == nil {
		return nil
	}
	c := *m
	return &c
}

// appraise checks bits.
func (m *Masked) appraise(got Bits) error {
	if got&m.Mask != m.Value {
		return fmt.Errorf("%s, of which the bits %s are %s, want %s", got, m.Mask, got&m.Mask, m.Value)
	}
	return nil
}
