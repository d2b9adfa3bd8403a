package qcnl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// silentDefaults is what the provider does with a file that it cannot parse and that does
// not begin with {.
const silentDefaults = "the provider ignores all of it and uses its defaults, a PCCS at " + defaultPCCS

// encodingOf returns what the encoding of a file is, if it is not the one that the provider
// reads, and how to change it.
func encodingOf(file []byte) (name, remedy string) {
	switch {
	case bytes.HasPrefix(file, []byte("\xef\xbb\xbf")):
		return "UTF-8 with a byte order mark", "save it as UTF-8 without BOM: sed -i '1s/^\\xef\\xbb\\xbf//' FILE"
	case bytes.HasPrefix(file, []byte("\xff\xfe")), bytes.HasPrefix(file, []byte("\xfe\xff")):
		return "UTF-16", "save it as UTF-8 without BOM: iconv -f UTF-16 -t UTF-8 FILE"
	case bytes.IndexByte(file, 0) >= 0:
		return "UTF-16, or no text", "save it as UTF-8: iconv -f UTF-16LE -t UTF-8 FILE"
	}
	return "", ""
}

// yamlLine matches a setting as YAML writes it, with or without quotes.
var yamlLine = regexp.MustCompile(`(?mi)^\s*(- )?["']?(pccs_url|use_secure_cert|collateral_service|local_pck_url)["']?\s*:`)

// addSyntax adds the finding that a file is no JSON, with the mistake that was probably
// made. text is the file without comments.
func (l *linter) addSyntax(file, text []byte, err error) {
	line, column, rest := 1, 0, ""
	before := text
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		// The offset is behind the character that was not expected.
		if syntax.Error() != "unexpected end of JSON input" {
			before = text[:max(int(syntax.Offset)-1, 0)]
		}
		line = 1 + bytes.Count(before, []byte("\n"))
		column = len(before) - bytes.LastIndexByte(before, '\n')
		rest = string(text[len(before):])
	}
	// The provider looks at the first byte.
	what := silentDefaults
	if bytes.HasPrefix(file, []byte("{")) {
		what = "no quotes with SGX_QL_CONFIG_INVALID_JSON (0xe067), or from older releases the defaults, a PCCS at " + defaultPCCS
	}
	problem := fmt.Sprintf("invalid JSON (column %d: %v)", column, err)
	last := strings.TrimRight(string(before), " \t\r\n")
	remedy := "correct it here or at the end of the previous line; comments are allowed, missing or extra commas are not"
	switch {
	case len(bytes.TrimSpace(file)) == 0:
		problem, remedy = "the file is empty", "write the settings between { and }, at least pccs_url"
	case len(bytes.TrimSpace(text)) == 0:
		problem, remedy = "the file has nothing but comments", "write the settings between { and }, at least pccs_url"
	case hasAny(rest, "“", "”", "„", "‘", "’"):
		problem, remedy = "typographic quotes (“ ”), which are no JSON", "replace them by straight ones (\")"
	case strings.Contains(err.Error(), "in string literal"):
		problem, remedy = "quotes that are not closed on their line", "close them; a tab or another control character does not belong into quotes"
	case strings.HasPrefix(rest, "'"):
		problem, remedy = "single quotes, which are no JSON", "replace them by double ones (\")"
	case strings.HasPrefix(rest, "#"):
		problem, remedy = "a comment that begins with #, which is no JSON", "begin it with //"
	case !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) && yamlLine.Match(text):
		problem, remedy = "the file looks like YAML", "write JSON: {\"pccs_url\": \"https://…\", …}"
	case strings.HasSuffix(last, ",") && hasAny(rest, "}", "]"):
		problem, remedy = "an extra comma before "+rest[:1], "remove the comma"
	case strings.HasPrefix(last, "{") && hasAny(rest, ","):
		problem, remedy = "an extra comma", "remove the comma: the setting before it is missing, or a comment"
	case strings.HasPrefix(rest, `"`):
		problem, remedy = "a missing comma before this line", "add a comma at the end of the previous setting"
	case hasAny(rest, "True", "False", "TRUE", "FALSE", "yes", "no", "on", "off"):
		problem, remedy = "a value that is no JSON", "write true or false, in small letters"
	case rest == "":
		problem, remedy = "the file ends too early", "close all quotes and braces"
	}
	if !bytes.HasPrefix(file, []byte("{")) && bytes.HasPrefix(bytes.TrimSpace(before), []byte("{")) {
		problem += ", and { is not the first character of the file"
	}
	l.add(line, Error, problem+": "+what, remedy)
}

// hasAny reports whether a text begins with one of the prefixes.
func hasAny(text string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(text, p) {
			return true
		}
	}
	return false
}
