package quote

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// The kinds of format errors; a *FormatError wraps one of them.
var (
	// ErrTruncated: the data ends before the field does.
	ErrTruncated = errors.New("data ends here")
	// ErrTrailing: bytes follow where the structure is over.
	ErrTrailing = errors.New("bytes left over")
	// ErrReserved: bytes that must be zero are not.
	ErrReserved = errors.New("reserved bytes are not zero")
	// ErrUnsupported: a version or type that this package does not read.
	ErrUnsupported = errors.New("not supported")
	// ErrLength: a length that the field cannot have.
	ErrLength = errors.New("impossible length")
)

// FormatError says which field of a quote cannot be read.
type FormatError struct {
	Field  string // as Intel's specification names it
	Offset int    // in bytes from the start of the quote
	Err    error
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("quote: %s at offset %d: %v", e.Field, e.Offset, e.Err)
}

func (e *FormatError) Unwrap() error { return e.Err }

// reader walks over bytes and remembers the first fault. After a fault every
// read returns zeros, so that a structure is read without a check per field.
type reader struct {
	data   []byte // what is left
	offset int    // of data[0] in the quote
	err    error  // the first fault
}

func (r *reader) fail(field string, offset int, err error) {
	if r.err == nil {
		r.err = &FormatError{Field: field, Offset: offset, Err: err}
	}
}

// next returns the next n bytes without copying them; nil after a fault.
func (r *reader) next(field string, n int) []byte {
	if r.err == nil && n > len(r.data) {
		r.fail(field, r.offset, fmt.Errorf("%w: %d bytes are left of %d", ErrTruncated, len(r.data), n))
	}
	if r.err != nil {
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	r.offset += n
	return b
}

func (r *reader) fill(field string, dst []byte) { copy(dst, r.next(field, len(dst))) }

func (r *reader) bytes(field string, n int) []byte { return slices.Clone(r.next(field, n)) }

func (r *reader) uint16(field string) uint16 {
	if b := r.next(field, 2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32(field string) uint32 {
	if b := r.next(field, 4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) bits(field string) TDBits {
	if b := r.next(field, 8); b != nil {
		return TDBits(binary.LittleEndian.Uint64(b))
	}
	return 0
}

// zero passes over n reserved bytes.
func (r *reader) zero(field string, n int) {
	offset := r.offset
	if i := slices.IndexFunc(r.next(field, n), func(b byte) bool { return b != 0 }); i >= 0 {
		r.fail(field, offset+i, ErrReserved)
	}
}

// section returns a reader of the next n bytes alone. Its fault, and bytes
// that it leaves, become r's through close.
func (r *reader) section(field string, n uint32) *reader {
	if uint64(n) > uint64(len(r.data)) {
		r.fail(field, r.offset, fmt.Errorf("%w: %d bytes are left of %d", ErrTruncated, len(r.data), n))
		return &reader{offset: r.offset, err: r.err}
	}
	offset := r.offset
	return &reader{data: r.next(field, int(n)), offset: offset, err: r.err}
}

// close ends a section, which must have been read to its end.
func (r *reader) close(section *reader, field string) {
	section.end(field)
	if r.err == nil {
		r.err = section.err
	}
}

func (r *reader) end(field string) {
	if len(r.data) > 0 {
		r.fail(field, r.offset, fmt.Errorf("%w: %d", ErrTrailing, len(r.data)))
	}
}
