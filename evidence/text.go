package evidence

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// byteOrderMark is the UTF-8 form of U+FEFF, with which some editors start text.
const byteOrderMark = "\ufeff"

// asText returns data without a byte order mark and without the NULs of a C string at its
// end, and whether it is text: UTF-8 without NULs. Every binary form has NULs or bytes that
// are not UTF-8 at its start, so that none of them is taken for text.
func asText(data []byte) (text []byte, ok bool) {
	text = bytes.TrimRight(bytes.TrimPrefix(data, []byte(byteOrderMark)), "\x00\r\n")
	if len(text) == 0 && bytes.IndexByte(data, 0) >= 0 {
		return nil, false
	}
	return text, utf8.Valid(text) && bytes.IndexByte(text, 0) < 0
}

// logPrefix matches what log readers write before each line: 'kubectl logs' with --prefix
// and --timestamps, and the container runtimes in /var/log/pods.
var logPrefix = regexp.MustCompile(`^(?:\[pod/[^\]\s]+\] )?(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)(?: (?:std(?:out|err) [FP] )?|$))?`)

// parseText reads text: PEM wherever it is, or text that is nothing but JSON, hexadecimal
// or base64.
func parseText(text []byte, layers int) (*Evidence, error) {
	if layers == 0 {
		return nil, fmt.Errorf("%w: more than %d forms in each other", ErrMalformed, maxLayers)
	}
	blocks, err := findPEM(text)
	if err != nil {
		return nil, err
	}
	if len(blocks) > 0 {
		return parsePEM(blocks, layers-1)
	}
	if message, ok := withoutLogPrefixes(text); ok {
		e, err := parseValue(message, layers-1)
		return in(FormLog, e, err)
	}
	return parseValue(text, layers-1)
}

// withoutLogPrefixes returns the messages of log lines, and whether every line is one.
func withoutLogPrefixes(text []byte) (messages []byte, ok bool) {
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		prefix := logPrefix.Find(line)
		if len(prefix) == 0 {
			return nil, false
		}
		messages = append(append(messages, line[len(prefix):]...), '\n')
	}
	return messages, len(messages) > 0
}

// parseValue reads text that is one value.
func parseValue(text []byte, layers int) (*Evidence, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return nil, looksLike("an empty file", "was there an error when it was written?")
	}
	switch text[0] {
	case '{', '[', '"':
		return parseJSON(text, layers)
	}
	data, form, err := decodeText(string(text))
	var other *notEncodedError
	switch {
	case errors.As(err, &other):
		return nil, describeText(string(text), other)
	case err != nil:
		return nil, locate(damaged(err), form)
	}
	e, err := parse(data, layers)
	return in(form, e, err)
}

// Alphabets of encoded text. A quote never reads as both hexadecimal and base64: one in
// hexadecimal starts with 03, 04 or 05, which is no version in base64, whose quotes start
// with Aw, BA or BQ.
const (
	hexDigits   = "0123456789abcdefABCDEF"
	letters     = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	onlyBase64  = "+/"
	onlyURLSafe = "-_"
)

// notEncodedError is returned for text that is neither hexadecimal nor base64.
type notEncodedError struct {
	text      string // without white space around its lines
	index     int    // of character in text
	character rune
}

func (e *notEncodedError) Error() string {
	return fmt.Sprintf("neither hexadecimal nor base64: character %d is %q", e.index+1, e.character)
}

// decodeText decodes hexadecimal, with or without 0x, and base64 (RFC 4648, sections 4
// and 5), with or without padding. Lines may be broken and indented. Which of them it is
// follows from the characters alone. The form is set for errors, unless they are a
// *notEncodedError.
func decodeText(text string) (data []byte, form Form, err error) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line))
	}
	s := b.String()
	if digits, found := cutHexPrefix(s); found || startsLikeHex(s) {
		data, err = decodeHex(digits)
		return data, FormHex, err
	}
	return decodeBase64(s)
}

// startsLikeHex reports whether text is hexadecimal, or starts like it and is damaged: no form
// starts with 32 digits in base64.
func startsLikeHex(s string) bool { return strings.Trim(s[:min(len(s), 32)], hexDigits) == "" }

func cutHexPrefix(s string) (digits string, found bool) {
	if digits, found = strings.CutPrefix(s, "0x"); found {
		return digits, true
	}
	return strings.CutPrefix(s, "0X")
}

func decodeHex(digits string) ([]byte, error) {
	if i, r, found := firstOther(digits, hexDigits); found {
		return nil, fmt.Errorf("character %d is %q, want a hexadecimal digit", i+1, r)
	}
	if len(digits)%2 != 0 {
		return nil, fmt.Errorf("%d digits, want an even number: is the end missing?", len(digits))
	}
	return hex.DecodeString(digits)
}

// firstOther returns the first character of s that is not in an alphabet of ASCII, and whether
// there is one.
func firstOther(s, alphabet string) (index int, character rune, found bool) {
	rest := strings.TrimLeft(s, alphabet)
	character, _ = utf8.DecodeRuneInString(rest)
	return len(s) - len(rest), character, rest != ""
}

func decodeBase64(s string) ([]byte, Form, error) {
	body := strings.TrimRight(s, "=")
	form, encoding := FormBase64, base64.RawStdEncoding
	if strings.ContainsAny(body, onlyURLSafe) {
		form, encoding = FormBase64URL, base64.RawURLEncoding
	}
	if i, r, found := firstOther(body, letters+onlyBase64+onlyURLSafe+"="); found {
		return nil, "", &notEncodedError{s, i, r}
	}
	if form == FormBase64URL && strings.ContainsAny(body, onlyBase64) {
		return nil, form, fmt.Errorf("%w: characters of base64 (+ or /) and of base64url (- or _)", ErrAmbiguous)
	}
	if i := strings.IndexByte(body, '='); i >= 0 {
		return nil, form, fmt.Errorf("%w: %d characters follow the padding", ErrTrailing, len(strings.TrimLeft(body[i:], "=")))
	}
	if n := len(s) - len(body); n > 0 && len(s)%4 != 0 {
		return nil, form, fmt.Errorf("%d characters with %d of padding, want a multiple of 4", len(s), n)
	}
	data, err := encoding.Strict().DecodeString(body)
	if err != nil {
		return nil, form, fmt.Errorf("%d characters that do not end like base64: is the end missing?", len(body))
	}
	return data, form, nil
}
