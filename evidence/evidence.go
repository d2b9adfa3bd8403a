package evidence

import (
	"bytes"
	"fmt"

	"github.com/confcom/confcom/quote"
)

// MaxSize is the maximum length in bytes of what Parse reads: a quote may follow a long log.
const MaxSize = 16 << 20

// Bounds on what takes long to read.
const (
	maxJSON   = 2 << 20 // bytes; event logs have up to 1 MiB, and base64 makes them longer
	maxBlocks = 1000    // PEM blocks in one text
	maxParts  = 64      // of a CMW collection, and elements of CBOR
)

// maxLayers is how deep forms may be nested. Genuine evidence has at most five: a log with a
// certificate in PEM, with tagged evidence, with a quote.
const maxLayers = 10

// Evidence is a quote and what came with it. Nothing in it has been verified.
type Evidence struct {
	// Forms are the layers around the quote and the quote itself, from the outside in.
	Forms []Form
	// Quote is exactly the quote, without what came before and after it.
	Quote []byte
	// Parsed is Quote, parsed.
	Parsed *quote.Quote
	// Padding is the number of zeros and line ends that followed the quote.
	Padding int
	// Attachments are what else the forms held, from the outside in.
	Attachments []Attachment
}

// Attachment is something that came with a quote. It is not verified, and it is bound to
// the quote only if the report data of the quote says so; the comment of each Kind says how.
type Attachment struct {
	Kind Kind
	Data []byte
	// Type is the type of the data if the form states one: "JSON" or "Binary" for the data
	// of Azure Attestation, a media type for the parts of a conceptual message wrapper.
	Type string
}

// Attached returns the data of the first attachment of a kind, and whether there is one.
func (e *Evidence) Attached(kind Kind) (data []byte, found bool) {
	for _, a := range e.Attachments {
		if a.Kind == kind {
			return a.Data, true
		}
	}
	return nil, false
}

// Parse reads the quote in data, in any of the forms that the package comment lists. Data
// that is a quote itself, or another binary form, is never searched for another quote. Its
// error is an *Error.
func Parse(data []byte) (*Evidence, error) {
	if len(data) > MaxSize {
		return nil, locate(fmt.Errorf("%w: %d bytes, want at most %d MiB", ErrTooLarge, len(data), MaxSize>>20))
	}
	e, err := parse(data, maxLayers)
	if err != nil {
		return nil, locate(err)
	}
	return e, nil
}

// parse reads text or a binary form. The number of layers that may still come bounds the
// recursion of all functions that get it.
func parse(data []byte, layers int) (*Evidence, error) {
	if text, ok := asText(data); ok {
		return parseText(text, layers)
	}
	return parseBinary(data, layers)
}

// parseBinary reads one of the binary forms. No two of them start alike.
func parseBinary(data []byte, layers int) (*Evidence, error) {
	if layers == 0 {
		return nil, fmt.Errorf("%w: more than %d forms in each other", ErrMalformed, maxLayers)
	}
	switch {
	case isQuote(data):
		return parseQuote(data)
	case isOpenEnclaveReport(data):
		return parseOpenEnclaveReport(data)
	case isOpenEnclaveEvidence(data):
		return parseOpenEnclaveEvidence(data)
	case isDER(data):
		return parseDER(data, layers-1)
	case isCBOR(data):
		return parseCBOR(data, layers-1)
	}
	return nil, describeBinary(data)
}

// isQuote reports whether data starts like a quote signed with ECDSA: version and type of
// the attestation key. Open Enclave evidence, which also starts with a 3, has zeros where
// the type of the key is.
func isQuote(data []byte) bool {
	return len(data) >= 4 && data[0] >= 3 && data[0] <= 5 && data[1] == 0 && (data[2] == 2 || data[2] == 3) && data[3] == 0
}

// parseQuote reads a quote that only padding may follow: zeros, because interfaces return
// quotes in buffers that are larger, and line ends, because of text editors.
func parseQuote(data []byte) (*Evidence, error) {
	q, rest, err := quote.ParsePrefix(data)
	if err != nil {
		return nil, malformed(err)
	}
	if err := checkPadding(rest, len(data)-len(rest), "quote"); err != nil {
		return nil, err
	}
	return newEvidence(q, data, len(rest)), nil
}

// checkPadding checks that only zeros and line ends follow the size bytes of a part.
func checkPadding(rest []byte, size int, part string) error {
	if len(bytes.Trim(rest, "\x00\r\n")) > 0 {
		return fmt.Errorf("%w: %d bytes follow the %s of %d bytes, and not all of them are zeros or line ends", ErrTrailing, len(rest), part, size)
	}
	return nil
}

// newEvidence returns a quote, which padding follows.
func newEvidence(q *quote.Quote, data []byte, padding int) *Evidence {
	return &Evidence{
		Forms:   []Form{FormQuote},
		Quote:   bytes.Clone(data[:len(data)-padding]),
		Parsed:  q,
		Padding: padding,
	}
}

// within returns e with a form around it and what else that form held.
func (e *Evidence) within(form Form, attachments ...Attachment) *Evidence {
	e.Forms = append([]Form{form}, e.Forms...)
	e.Attachments = append(attachments, e.Attachments...)
	return e
}

// with returns e with attachments of its innermost form.
func (e *Evidence) with(attachments ...Attachment) *Evidence {
	e.Attachments = append(e.Attachments, attachments...)
	return e
}

// in returns e within a form, or err in that form.
func in(form Form, e *Evidence, err error, attachments ...Attachment) (*Evidence, error) {
	if err != nil {
		return nil, locate(err, form)
	}
	return e.within(form, attachments...), nil
}
