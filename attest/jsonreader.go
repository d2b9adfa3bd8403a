package attest

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// jsonReader reads a JSON text member by member, in one pass. It is for the signed texts, which
// are most of the work of a verification besides the signatures: encoding/json takes four times
// as long for them, finds names in any case, and takes the last of two members with one name.
//
// Its methods read the next value. The first error is kept, and the methods do nothing after it.
type jsonReader struct {
	text  []byte
	next  int // offset
	depth int
	err   error
}

// maxDepth is how deep the objects and arrays of a signed text may be nested. Intel's
// texts have a depth of 6, and its library has about this limit.
const maxDepth = 31

// fail keeps an error, with where it is.
func (r *jsonReader) fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("at byte %d: %w", r.next, err)
	}
}

// end returns the error of the text, which must end here.
func (r *jsonReader) end() error {
	if r.space(); r.err == nil && r.next < len(r.text) {
		r.fail(fmt.Errorf("%q after the value", r.text[r.next]))
	}
	return r.err
}

func (r *jsonReader) space() {
	for r.next < len(r.text) && (r.text[r.next] == ' ' || r.text[r.next] == '\n' || r.text[r.next] == '\r' || r.text[r.next] == '\t') {
		r.next++
	}
}

// peek returns the next byte that is not white space, or 0 at the end or after an error.
func (r *jsonReader) peek() byte {
	if r.space(); r.err != nil || r.next >= len(r.text) {
		return 0
	}
	return r.text[r.next]
}

// take reads a byte.
func (r *jsonReader) take(want byte) {
	if got := r.peek(); got != want {
		r.fail(fmt.Errorf("want %q", want))
		return
	}
	r.next++
}

// enter begins an object or array, and reports whether it has an element.
func (r *jsonReader) enter(begin, end byte) bool {
	if r.peek() != begin {
		kind := "object"
		if begin == '[' {
			kind = "array"
		}
		r.fail(fmt.Errorf("want an %s", kind))
		return false
	}
	if r.next++; r.depth == maxDepth {
		r.fail(fmt.Errorf("objects and arrays are nested deeper than %d", maxDepth))
	}
	r.depth++
	if r.peek() != end {
		return r.err == nil
	}
	r.next++
	r.depth--
	return false
}

// more reads what follows an element, and reports whether there is another one.
func (r *jsonReader) more(end byte) bool {
	if r.peek() == ',' {
		r.next++
		return true
	}
	r.take(end)
	r.depth--
	return false
}

// object calls member for each member, with its name. It must read the value. A name that occurs
// twice is an error.
func (r *jsonReader) object(member func(name []byte)) {
	var few [16][]byte
	seen := few[:0]
	for more := r.enter('{', '}'); more; more = r.more('}') {
		name := r.bytes()
		r.take(':')
		if r.err != nil {
			return
		}
		for _, other := range seen {
			if bytes.Equal(name, other) {
				r.fail(fmt.Errorf("the member %q occurs twice", name))
				return
			}
		}
		seen = append(seen, name)
		if member(name); r.err != nil {
			return
		}
	}
}

// array calls element for each element. It must read it.
func (r *jsonReader) array(element func()) {
	for more := r.enter('[', ']'); more; more = r.more(']') {
		if element(); r.err != nil {
			return
		}
	}
}

// bytes reads a string.
func (r *jsonReader) bytes() []byte {
	if r.peek() != '"' {
		r.fail(errors.New("want a string"))
		return nil
	}
	r.next++
	start, plain := r.next, true
	for ; r.err == nil && r.next < len(r.text); r.next++ {
		switch c := r.text[r.next]; {
		case c == '"':
			r.next++
			return r.unescape(start, plain)
		case c == '\\':
			plain = false
			r.next++ // whatever follows is part of the string
		case c < ' ':
			r.fail(errors.New("a control character in a string"))
		case c >= utf8.RuneSelf:
			plain = false
		}
	}
	r.fail(errors.New("a string does not end"))
	return nil
}

// unescape returns the string between start and the quotation mark before next. It is usually
// plain: encoding/json reads others.
func (r *jsonReader) unescape(start int, plain bool) []byte {
	if plain {
		return r.text[start : r.next-1]
	}
	if !utf8.Valid(r.text[start:r.next]) {
		r.fail(errors.New("a string is not UTF-8"))
		return nil
	}
	var s string
	if err := json.Unmarshal(r.text[start-1:r.next], &s); err != nil {
		r.fail(err)
	}
	return []byte(s)
}

// string reads a string.
func (r *jsonReader) string() string { return string(r.bytes()) }

// into reads a string into a value.
func (r *jsonReader) into(v encoding.TextUnmarshaler) {
	if text := r.bytes(); r.err == nil {
		if err := v.UnmarshalText(text); err != nil {
			r.fail(err)
		}
	}
}

// number reads an integer from 0 to limit.
func (r *jsonReader) number(limit uint64) uint64 {
	r.peek()
	start := r.next
	for r.err == nil && r.next < len(r.text) && '0' <= r.text[r.next] && r.text[r.next] <= '9' {
		r.next++
	}
	digits := r.text[start:r.next]
	n, err := strconv.ParseUint(string(digits), 10, 64)
	fraction := r.next < len(r.text) && bytes.IndexByte([]byte(".eE"), r.text[r.next]) >= 0
	if err != nil || n > limit || fraction || digits[0] == '0' && len(digits) > 1 {
		r.fail(fmt.Errorf("want an integer from 0 to %d", limit))
		return 0
	}
	return n
}

// skip reads a value of any kind.
func (r *jsonReader) skip() {
	switch c := r.peek(); c {
	case '{':
		r.object(func([]byte) { r.skip() })
	case '[':
		r.array(r.skip)
	case '"':
		r.bytes()
	default:
		start := r.next
		for r.err == nil && r.next < len(r.text) && bytes.IndexByte([]byte(" \t\r\n,]}"), r.text[r.next]) < 0 {
			r.next++
		}
		if !json.Valid(r.text[start:r.next]) {
			r.fail(errors.New("want a value"))
		}
	}
}
