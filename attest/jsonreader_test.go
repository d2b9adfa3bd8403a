package attest

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// read reads a value of any kind.
func read(text string) error {
	r := &jsonReader{text: []byte(text)}
	r.skip()
	return r.end()
}

func TestJSONReader(t *testing.T) {
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	for text, want := range map[string]string{ // of the error; empty for none
		` { "a" : [ 1 , -2.5e3 , true , null , "\u00e9\"}" ] , "b" : { } } `: "",
		nested(maxDepth):            "",
		nested(maxDepth + 1):        "nested deeper than 31",
		strings.Repeat("[", 10_000): "nested deeper than 31",
		`{"a": 1, "a": 2}`:          `"a" occurs twice`,
		`{"a": 1, "\u0061": 2}`:     `"a" occurs twice`,
		`{"a": 1, "A": 2}`:          "",
		`{"a": 1,}`:                 "want a string",
		`{"a" 1}`:                   "want ':'",
		`{"a": 1`:                   "want '}'",
		`[1,]`:                      "want a value",
		`[1 2]`:                     "want ']'",
		`[01]`:                      "want a value",
		`[1] x`:                     "after the value",
		`"a`:                        "does not end",
		`"a\`:                       "does not end",
		`"\x"`:                      "invalid character",
		"\"a\nb\"":                  "control character",
		"\"\xff\"":                  "not UTF-8",
		``:                          "want a value",
		`tru`:                       "want a value",
	} {
		if err := read(text); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]bool{"0": true, "255": true, "256": false, "-1": false, "1.0": false, "1e0": false, "00": false, `"1"`: false, "null": false, "18446744073709551616": false} {
		r := &jsonReader{text: []byte(text)}
		r.number(255)
		if err := r.end(); (err == nil) != want {
			t.Errorf("number %s: %v", text, err)
		}
	}
}

// What the reader accepts is JSON, and it refuses JSON for few reasons.
func FuzzJSONReader(f *testing.F) {
	f.Add(`{"id":"SGX","tcbLevels":[{"tcb":{"sgxtcbcomponents":[{"svn":1,"category":"BIOS"}],"pcesvn":13}}]}`)
	f.Add(`[1, "\ud800", true, {"a": {}}]`)
	f.Fuzz(func(t *testing.T, text string) {
		err := read(text)
		switch {
		case err == nil && !json.Valid([]byte(text)):
			t.Errorf("%q is accepted", text)
		case err != nil && json.Valid([]byte(text)) && utf8.ValidString(text) && !strings.Contains(err.Error(), "occurs twice") && !strings.Contains(err.Error(), "nested deeper"):
			t.Errorf("%q is refused: %v", text, err)
		}
	})
}
