package evidence

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// The tags of Interoperable RA-TLS, which IANA has registered for Intel. The content of tag
// 60000 is an array of a quote and of a buffer of claims.
const (
	tagQuote     = 60000
	tagTEEReport = 60001
	tagSGXReport = 60002
)

// isCBOR reports whether data starts like one of the CBOR forms: an array of two or three
// elements or of indefinite length, a map, or a tag of two or four bytes.
func isCBOR(data []byte) bool {
	if len(data) == 0 {
		return false
	}
	switch b := data[0]; {
	case b == 0x82, b == 0x83, b == 0x9f: // arrays
		return true
	case b > 0xa0 && b <= 0xbb, b == 0xbf: // maps
		return true
	case b == 0xd9, b == 0xda: // tags
		return true
	}
	return false
}

// cborMode returns the decoder of all CBOR: it refuses duplicate keys and bounds nesting.
func cborMode() (cbor.DecMode, error) {
	return cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  maxLayers,
		MaxArrayElements: maxParts,
		MaxMapPairs:      maxParts,
		IntDec:           cbor.IntDecConvertSignedOrFail,
	}.DecMode()
}

// decodeCBOR decodes one CBOR item, and nothing after it.
func decodeCBOR(data []byte, into any) error {
	mode, err := cborMode()
	if err != nil {
		return err
	}
	return mode.Unmarshal(data, into)
}

// trimCBOR returns the CBOR item in data, without the padding after it.
func trimCBOR(data []byte) ([]byte, error) {
	mode, err := cborMode()
	if err != nil {
		return nil, err
	}
	var item cborItem
	rest, err := mode.UnmarshalFirst(data, &item)
	if err != nil {
		return nil, looksLike(fmt.Sprintf("damaged CBOR (%v)", err), "")
	}
	return data[:len(data)-len(rest)], checkPadding(rest, len(data)-len(rest), "CBOR")
}

// parseCBOR reads tagged evidence, and the CBOR forms of a conceptual message wrapper.
func parseCBOR(data []byte, layers int) (*Evidence, error) {
	if layers <= 0 {
		return nil, fmt.Errorf("%w: more than %d forms in each other", ErrMalformed, maxLayers)
	}
	data, err := trimCBOR(data)
	switch {
	case err != nil:
		return nil, err
	case data[0] == 0xd9 || data[0] == 0xda:
		return parseCBORTag(data, layers)
	case data[0] >= 0xa0:
		return parseCBORMap(data, layers)
	}
	return parseCBORRecord(data, layers)
}

func parseCBORTag(data []byte, layers int) (*Evidence, error) {
	var tag cbor.RawTag
	if err := decodeCBOR(data, &tag); err != nil {
		return nil, locate(malformed(err), FormCMWTag)
	}
	switch {
	case tag.Number == tagQuote:
		e, err := parseTaggedQuote(tag.Content)
		return in(FormTaggedEvidence, e, err)
	case tag.Number == tagTEEReport:
		return nil, looksLike("tagged evidence with a TDREPORT or an SGX REPORT of type 2 (CBOR tag 60001)", adviceLocal)
	case tag.Number == tagSGXReport:
		return nil, looksLike("tagged evidence with an SGX REPORT (CBOR tag 60002)", adviceLocal)
	}
	format, ok := contentFormat(tag.Number)
	if !ok {
		return nil, looksLike(fmt.Sprintf("CBOR with tag %d", tag.Number), "")
	}
	value, err := byteString(tag.Content)
	if err != nil {
		return nil, locate(malformed(err), FormCMWTag)
	}
	e, err := parseRecord(record{kind: fmt.Sprintf("CoAP content format %d", format), value: value}, layers)
	return in(FormCMWTag, e, err)
}

// parseTaggedQuote reads the content of tag 60000. Source: "Interoperable RA-TLS SGX / TDX
// Evidence Tags and Formats".
func parseTaggedQuote(content []byte) (*Evidence, error) {
	var parts []cborItem
	if err := decodeCBOR(content, &parts); err != nil {
		return nil, malformed(err)
	}
	if len(parts) != 2 {
		return nil, fmt.Errorf("%w: an array of %d, want a quote and claims", ErrMalformed, len(parts))
	}
	data, err := byteString(parts[0])
	if err != nil {
		return nil, fmt.Errorf("%w: quote: %w", ErrMalformed, err)
	}
	claims, err := byteString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("%w: claims: %w", ErrMalformed, err)
	}
	e, err := expectQuote(data)
	if err != nil {
		return nil, err
	}
	return e.with(Attachment{Kind: CustomClaims, Data: claims}), nil
}

// byteString returns the bytes of a CBOR byte string. The decoder alone would also take null
// and arrays of numbers.
func byteString(item cborItem) ([]byte, error) {
	const majorType, byteStrings = 5, 2 // RFC 8949, section 3.1
	if len(item) == 0 || item[0]>>majorType != byteStrings {
		return nil, errors.New("not a byte string")
	}
	var data []byte
	if err := decodeCBOR(item, &data); err != nil {
		return nil, err
	}
	return data, nil
}

// cborItem is a CBOR item that is not decoded yet.
type cborItem = cbor.RawMessage

// sortedKeys returns the keys of a map, which are text and integers, in order.
func sortedKeys(members map[any]cborItem) []any {
	return slices.SortedFunc(maps.Keys(members), func(a, b any) int {
		return strings.Compare(fmt.Sprintf("%T %v", a, a), fmt.Sprintf("%T %v", b, b))
	})
}

// contentFormat returns the CoAP content format of a CMW tag, and whether it is one: the
// inverse of TN() in RFC 9277, appendix B.
func contentFormat(tag uint64) (format uint64, ok bool) {
	const first, last = 1668546817, 1668612095
	if tag < first || tag > last || (tag-first)%256 == 255 {
		return 0, false
	}
	return (tag-first)/256*255 + (tag-first)%256, true
}
