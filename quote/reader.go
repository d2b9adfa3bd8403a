package quote

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// The causes of format errors. A *FormatError wraps one of them.
var (
	// ErrTruncated means that the data ends before the field does.
	ErrTruncated = errors.New("data ends here")
	// ErrTrailing means that bytes follow the end of the structure.
	ErrTrailing = errors.New("bytes left over")
	// ErrReserved means that a reserved byte is not zero.
	ErrReserved = errors.New("reserved bytes are not zero")
	// ErrUnsupported means a version or type that this package does not read.
	ErrUnsupported = errors.New("not supported")
	// ErrLength means a length that the field cannot have.
	ErrLength = errors.New("invalid length")
)

// FormatError is returned for a quote that cannot be parsed. It has the field at which
// parsing failed.
type FormatError struct {
	Field  string // the name in Intel's specification
	Offset int    // in bytes from the start of the quote
	Err    error
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("quote: %s at offset %d: %v", e.Field, e.Offset, e.Err)
}

func (e *FormatError) Unwrap() error { return e.Err }

// reader reads bytes and keeps the first error. After an error every read returns
// zeros, so that a structure is read without a check after each field.
type reader struct {
	data   []byte // not yet read
	offset int    // of data[0] in the quote
	err    error  // the first error
}

func (r *reader) fail(field string, offset int, err error) {
	if r.err == nil {
		r.err = &FormatError{Field: field, Offset: offset, Err: err}
	}
}

// next returns the next n bytes without copying them, or nil after an error.
func (r *reader) next(field string, n int) []byte {
	if r.err == nil && n > len(r.data) {
		r.fail(field, r.offset, fmt.Errorf("%w: %d bytes left, want %d", ErrTruncated, len(r.data), n))
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

// zero skips n reserved bytes, which must be zero.
func (r *reader) zero(field string, n int) {
	offset := r.offset
	if i := slices.IndexFunc(r.next(field, n), func(b byte) bool { return b != 0 }); i >= 0 {
		r.fail(field, offset+i, ErrReserved)
	}
}

// section returns a reader of the next n bytes. The caller closes it with close, which
// hands its error to r.
func (r *reader) section(field string, n uint32) *reader {
	if uint64(n) > uint64(len(r.data)) {
		r.fail(field, r.offset, fmt.Errorf("%w: %d bytes left, want %d", ErrTruncated, len(r.data), n))
		return &reader{offset: r.offset, err: r.err}
	}
	offset := r.offset
	return &reader{data: r.next(field, int(n)), offset: offset, err: r.err}
}

// close ends a section, all of which must have been read.
func (r *reader) close(section *reader, field string) {
	section.end(field)
	if r.err == nil {
		r.err = section.err
	}
}

// end checks that all bytes have been read.
func (r *reader) end(field string) {
	if len(r.data) > 0 {
		r.fail(field, r.offset, fmt.Errorf("%w: %d", ErrTrailing, len(r.data)))
	}
}
