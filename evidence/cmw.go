package evidence

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/confcom/confcom/internal/strictjson"
)

// Conceptual message wrappers (CMW) are those of RFC 9999. Implementations disagree on the media
// type of a quote, so what is in a record is recognized by its bytes; a quote states its version
// and its TEE.

// record is a CMW record: section 3.1, or a CMW tag: section 3.2.
type record struct {
	kind  string // media type or CoAP content format
	value []byte
	// indicator says which conceptual messages the value holds; 0 if the record does not.
	indicator uint64
}

// Bits of the indicator: section 3.1.1.
const (
	indicatorEndorsements = 1 << 1
	indicatorEvidence     = 1 << 2
	indicatorAll          = 1<<5 - 1
)

// parseRecord reads the quote in a record.
func parseRecord(r record, layers int) (*Evidence, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if r.indicator != 0 && r.indicator&indicatorEvidence == 0 {
		return nil, looksLike(fmt.Sprintf("a conceptual message that states to be no evidence (indicator %d)", r.indicator), "")
	}
	if layers <= 0 {
		return nil, fmt.Errorf("%w: more than %d forms in each other", ErrMalformed, maxLayers)
	}
	if text, ok := asText(r.value); ok && isJSON(text) { // such as the JSON of configfs-tsm
		return parseJSON(bytes.TrimSpace(text), layers-1)
	}
	return parseBinary(r.value, layers-1)
}

func (r record) check() error {
	switch {
	case r.kind == "":
		return fmt.Errorf("%w: empty type", ErrMalformed)
	case r.indicator > indicatorAll:
		return fmt.Errorf("%w: indicator %d, want 1 to %d", ErrMalformed, r.indicator, indicatorAll)
	}
	return nil
}

// parseJSONRecord reads a JSON array as a record: [type, value, indicator].
func parseJSONRecord(text []byte, layers int) (*Evidence, error) {
	r, err := jsonRecord(text)
	if err != nil {
		return nil, locate(malformed(err), FormCMWRecord)
	}
	e, err := parseRecord(r, layers)
	return in(FormCMWRecord, e, err)
}

func jsonRecord(text []byte) (record, error) {
	var (
		r     record
		array [4]json.RawMessage // one more than a record has; further ones are not kept
		value string
	)
	if err := json.Unmarshal(text, &array); err != nil {
		return r, err
	}
	parts := slices.DeleteFunc(array[:], func(part json.RawMessage) bool { return part == nil })
	switch len(parts) {
	case 2, 3:
	case len(array):
		return r, errors.New("an array of more than 3, want type, value and optionally an indicator")
	default:
		return r, fmt.Errorf("an array of %d, want type, value and optionally an indicator", len(parts))
	}
	if err := json.Unmarshal(parts[0], &r.kind); err != nil {
		return r, fmt.Errorf("type: %w", err)
	}
	if err := json.Unmarshal(parts[1], &value); err != nil {
		return r, fmt.Errorf("value: %w", err)
	}
	var err error
	if r.value, err = base64.RawURLEncoding.Strict().DecodeString(value); err != nil {
		return r, fmt.Errorf("value: want base64url without padding: %w", err)
	}
	if len(parts) == 3 {
		if err := json.Unmarshal(parts[2], &r.indicator); err != nil {
			return r, fmt.Errorf("indicator: %w", err)
		}
		if r.indicator == 0 {
			return r, errors.New("indicator: 0, want 1 or more")
		}
	}
	return r, nil
}

// collectionType is the label of the type of a collection.
const collectionType = "__cmwc_t"

// isJSONCollection reports whether a JSON object is a CMW collection: it says so, or all its
// members are arrays that start with a media type.
func isJSONCollection(members map[string]json.RawMessage) bool {
	if _, found := members[collectionType]; found {
		return true
	}
	for _, value := range members {
		var (
			items [1]json.RawMessage // further ones are not kept: an array of bytes may be long
			kind  string
		)
		if value[0] != '[' || json.Unmarshal(value, &items) != nil || items[0] == nil || json.Unmarshal(items[0], &kind) != nil || !strings.Contains(kind, "/") {
			return false
		}
	}
	return len(members) > 0
}

// part is a member of a collection.
type part struct {
	label string
	parse func(layers int) (*Evidence, error)
	other Attachment // what it is if it is no quote
}

// parseJSONCollection reads a JSON object as a collection: section 3.3.
func parseJSONCollection(members map[string]json.RawMessage, layers int) (*Evidence, error) {
	if len(members) > maxParts+1 { // and the type
		return nil, locate(fmt.Errorf("%w: %d parts, want at most %d", ErrTooLarge, len(members), maxParts), FormCMWCollection)
	}
	var parts []part
	for _, label := range slices.Sorted(maps.Keys(members)) {
		value := members[label]
		switch {
		case label == collectionType && value[0] == '"':
		case value[0] == '[' && label != collectionType:
			r, err := jsonRecord(value)
			if err != nil {
				return nil, locate(fmt.Errorf("%w: %q: %w", ErrMalformed, label, err), FormCMWCollection)
			}
			parts = append(parts, recordPart(label, r))
		case value[0] == '{' && label != collectionType:
			parts = append(parts, part{label: label, parse: func(layers int) (*Evidence, error) {
				inner, err := strictjson.Members(value)
				if err != nil {
					return nil, malformed(err)
				}
				return parseJSONCollection(inner, layers)
			}})
		case label == collectionType:
			return nil, locate(fmt.Errorf("%w: the type of the collection is not a string", ErrMalformed), FormCMWCollection)
		default:
			return nil, locate(fmt.Errorf("%w: %q is neither a record nor a collection", ErrMalformed, label), FormCMWCollection)
		}
	}
	return parseParts(parts, layers)
}

func recordPart(label string, r record) part {
	kind := OtherRecord
	if r.indicator == indicatorEndorsements {
		kind = Endorsements
	}
	return part{
		label: label,
		parse: func(layers int) (*Evidence, error) {
			e, err := parseRecord(r, layers)
			return in(FormCMWRecord, e, err)
		},
		other: Attachment{Kind: kind, Data: r.value, Type: r.kind},
	}
}

// parseParts reads the one quote in the parts of a collection.
func parseParts(parts []part, layers int) (*Evidence, error) {
	if layers <= 0 {
		return nil, fmt.Errorf("%w: more than %d forms in each other", ErrMalformed, maxLayers)
	}
	var (
		found  *Evidence
		label  string
		others []Attachment
		reason error
	)
	for _, p := range parts {
		e, err := p.parse(layers - 1)
		switch {
		case isNoQuote(err):
			if reason == nil {
				reason = err
			}
			if p.other.Kind != "" {
				others = append(others, p.other)
			}
		case err != nil:
			return nil, locate(err, FormCMWCollection)
		case found != nil:
			return nil, locate(fmt.Errorf("%w: two quotes, in %q and %q: pass one", ErrAmbiguous, label, p.label), FormCMWCollection)
		default:
			found, label = e, p.label
		}
	}
	switch {
	case found != nil:
		return found.within(FormCMWCollection, others...), nil
	case reason == nil:
		reason = fmt.Errorf("%w: empty", ErrMalformed)
	}
	return nil, locate(reason, FormCMWCollection)
}

// parseCBORRecord reads a CBOR array as a record.
func parseCBORRecord(data []byte, layers int) (*Evidence, error) {
	var parts []cborItem
	if err := decodeCBOR(data, &parts); err != nil {
		return nil, locate(malformed(err), FormCMWRecord)
	}
	r, err := cborRecord(parts)
	if err != nil {
		return nil, locate(malformed(err), FormCMWRecord)
	}
	e, err := parseRecord(r, layers)
	return in(FormCMWRecord, e, err)
}

func cborRecord(parts []cborItem) (record, error) {
	var r record
	if len(parts) != 2 && len(parts) != 3 {
		return r, fmt.Errorf("an array of %d, want type, value and optionally an indicator", len(parts))
	}
	if err := decodeCBOR(parts[0], &r.kind); err != nil {
		var format uint16
		if err := decodeCBOR(parts[0], &format); err != nil {
			return r, fmt.Errorf("type: want a media type or a CoAP content format: %w", err)
		}
		r.kind = fmt.Sprintf("CoAP content format %d", format)
	}
	var err error
	if r.value, err = byteString(parts[1]); err != nil {
		return r, fmt.Errorf("value: %w", err)
	}
	if len(parts) == 3 {
		if err := decodeCBOR(parts[2], &r.indicator); err != nil {
			return r, fmt.Errorf("indicator: %w", err)
		}
		if r.indicator == 0 {
			return r, errors.New("indicator: 0, want 1 or more")
		}
	}
	return r, nil
}

// parseCBORMap reads a CBOR map as a collection, or as a report of configfs-tsm.
func parseCBORMap(data []byte, layers int) (*Evidence, error) {
	var members map[any]cborItem
	if err := decodeCBOR(data, &members); err != nil {
		return nil, locate(malformed(err), FormCMWCollection)
	}
	if _, found := members["outblob"]; found {
		return parseCBORTSM(members, layers)
	}
	var parts []part
	for _, key := range sortedKeys(members) {
		label, value := fmt.Sprint(key), members[key]
		switch {
		case key == collectionType:
			var kind string
			if err := decodeCBOR(value, &kind); err != nil {
				return nil, locate(fmt.Errorf("%w: the type of the collection: %w", ErrMalformed, err), FormCMWCollection)
			}
		case !isCBOR(value):
			return nil, looksLike(fmt.Sprintf("a CBOR map whose member %q is neither a record, a tag nor a collection", label), "")
		case value[0] == 0x82 || value[0] == 0x83 || value[0] == 0x9f:
			var items []cborItem
			err := decodeCBOR(value, &items)
			var r record
			if err == nil {
				r, err = cborRecord(items)
			}
			if err != nil {
				return nil, locate(fmt.Errorf("%w: %q: %w", ErrMalformed, label, err), FormCMWCollection)
			}
			parts = append(parts, recordPart(label, r))
		default:
			parts = append(parts, part{
				label: label,
				parse: func(layers int) (*Evidence, error) { return parseCBOR(value, layers) },
				other: Attachment{Kind: OtherRecord, Data: bytes.Clone(value)},
			})
		}
	}
	return parseParts(parts, layers)
}

// parseCBORTSM reads the quote in a report of configfs-tsm in CBOR, which is bytes, or base64
// as Veraison's ratsd writes it.
func parseCBORTSM(members map[any]cborItem, layers int) (*Evidence, error) {
	for _, key := range sortedKeys(members) {
		switch key {
		case "outblob", "auxblob", "provider", "service":
		default:
			return nil, locate(fmt.Errorf("%w: unknown member %q", ErrMalformed, fmt.Sprint(key)), FormTSM)
		}
	}
	report := members["outblob"]
	if data, err := byteString(report); err == nil {
		e, err := parseBinary(data, layers)
		return in(FormTSM, e, err)
	}
	var text string
	if err := decodeCBOR(report, &text); err != nil {
		return nil, locate(fmt.Errorf("%w: member \"outblob\": %w", ErrMalformed, err), FormTSM)
	}
	data, form, err := decodeText(text)
	if err != nil {
		return nil, locate(damaged(fmt.Errorf("member \"outblob\": %w", err)), FormTSM)
	}
	e, err := parseMember(data, form, layers)
	return in(FormTSM, e, err)
}
