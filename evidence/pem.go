package evidence

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
)

// PEMType is the type of the PEM block that holds a quote where text is needed, as in the
// log of a pod.
const PEMType = "SGX QUOTE"

const certificateType = "CERTIFICATE"

// block is a PEM block with a quote or a certificate.
type block struct {
	kind string
	data []byte
	line int // of its first line, from 1
}

func (b block) String() string { return fmt.Sprintf("%s at line %d", b.kind, b.line) }

// boundary matches the first and last line of a PEM block.
var boundary = regexp.MustCompile(`^-----(BEGIN|END) ([^-]+)-----$`)

// findPEM returns the PEM blocks with quotes and certificates in text (RFC 7468, section 3).
// Their lines may be indented, end in CR LF, and follow what log readers write before each
// line. Other blocks and other lines between the blocks are ignored. A damaged block, or a
// quote that starts within a line, is an error: it may be the one that counts.
func findPEM(text []byte) (blocks []block, err error) {
	if !bytes.Contains(text, []byte("-----BEGIN ")) {
		return nil, nil
	}
	var (
		open    *block
		content strings.Builder
		number  int
	)
	for line := range bytes.Lines(text) {
		number++
		if open == nil && !bytes.Contains(line, []byte("-----")) {
			continue
		}
		line = bytes.TrimRight(line, "\r\n")
		line = bytes.TrimPrefix(line, []byte(byteOrderMark)) // where files were joined
		line = bytes.TrimSpace(line[len(logPrefix.Find(line)):])
		match := boundary.FindSubmatch(line)
		switch {
		case match == nil && bytes.Contains(line, []byte("-----BEGIN "+PEMType+"-----")):
			// It may be the quote that counts.
			return nil, locate(fmt.Errorf("%w: line %d has more than the start of a block %q: write the block as it was printed, one line of it per line", ErrMalformed, number, PEMType), FormPEM)
		case match == nil && open != nil:
			content.Write(line)
		case match == nil: // such as the start of a block of another type, within a line
		case string(match[1]) == "BEGIN":
			if open != nil {
				return nil, locate(fmt.Errorf("%w: %s: no end before line %d", ErrMalformed, open, number), FormPEM)
			}
			if kind := string(match[2]); kind == PEMType || kind == certificateType {
				open = &block{kind: kind, line: number}
				content.Reset()
			}
		case open != nil:
			if string(match[2]) != open.kind {
				return nil, locate(fmt.Errorf("%w: %s: line %d ends a block %q", ErrMalformed, open, number, match[2]), FormPEM)
			}
			if open.data, err = base64.StdEncoding.Strict().DecodeString(content.String()); err != nil {
				return nil, locate(fmt.Errorf("%w: %s: %w", ErrMalformed, open, err), FormPEM)
			}
			if len(blocks) == maxBlocks {
				return nil, locate(fmt.Errorf("%w: more than %d blocks with quotes and certificates", ErrTooLarge, maxBlocks), FormPEM)
			}
			blocks = append(blocks, *open)
			open = nil
		}
	}
	if open != nil {
		return nil, locate(fmt.Errorf("%w: %s: no end", ErrMalformed, open), FormPEM)
	}
	return blocks, nil
}

// parsePEM reads the one quote that is in a block of its own or in a certificate. Other
// certificates may be there, such as those of a chain.
func parsePEM(blocks []block, layers int) (*Evidence, error) {
	var (
		found  *Evidence
		where  block
		reason error // why the first block has no quote
	)
	for _, b := range blocks {
		e, err := parseBlock(b, layers)
		switch {
		case isNoQuote(err):
			if reason == nil {
				reason = err
			}
		case err != nil:
			return nil, locate(err, FormPEM)
		case found != nil:
			return nil, locate(fmt.Errorf("%w: two quotes in one text, in %s and %s: pass one", ErrAmbiguous, where, b), FormPEM)
		default:
			found, where = e, b
		}
	}
	if found == nil {
		return nil, locate(reason, FormPEM)
	}
	return found.within(FormPEM), nil
}

func parseBlock(b block, layers int) (*Evidence, error) {
	if b.kind == certificateType {
		certificate, err := readCertificate(b.data)
		switch {
		case isNoQuote(err):
			// Another program may be able to read it: it may be the one that counts.
			return nil, fmt.Errorf("%w: %s: %v", ErrMalformed, b, err) // %v: it is not skipped like other certificates
		case err != nil:
			return nil, err
		}
		return parseRead(certificate, layers)
	}
	if !isQuote(b.data) {
		return nil, fmt.Errorf("%w: %s does not start like a quote", ErrMalformed, b)
	}
	return parseQuote(b.data)
}
