package evidence

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// asText returns data without a byte order mark and without the NULs of a C string at its
// end, and whether it is text: UTF-8 without NULs. Every binary form has NULs or bytes that
// are not UTF-8 at its start, so that none of them is taken for text.
func asText(data []byte) (text []byte, ok bool) {
	text = bytes.TrimRight(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), "\x00\r\n")
	return text, utf8.Valid(text) && bytes.IndexByte(text, 0) < 0
}

// logPrefix matches what log readers write before each line: 'kubectl logs' with --prefix
// and --timestamps, and the container runtimes in /var/log/pods.
var logPrefix = regexp.MustCompile(`^(?:\[pod/[^\]\s]+\] )?(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) (?:std(?:out|err) [FP] )?)?`)

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
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		prefix := logPrefix.Find(line)
		if len(prefix) == 0 {
			return nil, false
		}
		messages = append(messages, line[len(prefix):]...)
	}
	return messages, len(messages) > 0
}

// parseValue reads text that is one value.
func parseValue(text []byte, layers int) (*Evidence, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return nil, looksLike("an empty file", "")
	}
	switch text[0] {
	case '{', '[', '"':
		return parseJSON(text, layers)
	}
	data, form, err := decodeText(string(text))
	if err != nil {
		return nil, err
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

// decodeText decodes hexadecimal, with or without 0x, and base64 (RFC 4648, sections 4
// and 5), with or without padding. Lines may be broken and indented. Which of them it is
// follows from the characters alone.
func decodeText(text string) (data []byte, form Form, err error) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line))
	}
	s := b.String()
	if digits, found := cutHexPrefix(s); found || strings.Trim(s, hexDigits) == "" {
		return decodeHex(digits)
	}
	return decodeBase64(s)
}

func cutHexPrefix(s string) (digits string, found bool) {
	if digits, found = strings.CutPrefix(s, "0x"); found {
		return digits, true
	}
	return strings.CutPrefix(s, "0X")
}

func decodeHex(digits string) ([]byte, Form, error) {
	if i := strings.IndexFunc(digits, func(r rune) bool { return !strings.ContainsRune(hexDigits, r) }); i >= 0 {
		return nil, "", locate(fmt.Errorf("%w: character %d is %q", ErrMalformed, i+1, firstRune(digits[i:])), FormHex)
	}
	data, err := hex.DecodeString(digits)
	if err != nil {
		return nil, "", locate(fmt.Errorf("%w: %d digits, want an even number", ErrMalformed, len(digits)), FormHex)
	}
	return data, FormHex, nil
}

func decodeBase64(s string) ([]byte, Form, error) {
	body := strings.TrimRight(s, "=")
	form, encoding := FormBase64, base64.RawStdEncoding
	if strings.ContainsAny(body, onlyURLSafe) {
		form, encoding = FormBase64URL, base64.RawURLEncoding
	}
	for i, r := range body {
		switch {
		case !strings.ContainsRune(letters+onlyBase64+onlyURLSafe, r):
			return nil, "", describeText(s, i, r)
		case form == FormBase64URL && strings.ContainsRune(onlyBase64, r):
			return nil, "", fmt.Errorf("%w: text with characters of base64 (+ or /) and of base64url (- or _)", ErrAmbiguous)
		}
	}
	if n := len(s) - len(body); n > 0 && len(s)%4 != 0 {
		return nil, "", locate(fmt.Errorf("%w: %d characters with %d of padding, want a multiple of 4", ErrMalformed, len(s), n), form)
	}
	data, err := encoding.Strict().DecodeString(body)
	if err != nil {
		return nil, "", locate(fmt.Errorf("%w: %d characters that do not end like base64: is the end missing?", ErrMalformed, len(body)), form)
	}
	return data, form, nil
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}
