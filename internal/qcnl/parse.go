package qcnl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Parse returns what the provider makes of a file, and what is wrong with that.
func Parse(text []byte) (Config, []Finding) {
	l := &linter{lines: map[string]int{}}
	config := l.parse(text)
	slices.SortStableFunc(l.findings, func(a, b Finding) int { return a.Line - b.Line })
	return config, l.findings
}

func (l *linter) parse(file []byte) Config {
	text := blank(file)
	var value json.RawMessage
	if err := json.Unmarshal(text, &value); err != nil {
		if config, ok := l.legacy(string(file)); ok {
			return config
		}
		line, column := 1, 0
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			before := text[:min(int(syntax.Offset), len(text))]
			line, column = 1+bytes.Count(before, []byte("\n")), len(before)-1-bytes.LastIndexByte(before, '\n')
		}
		l.add(line, Error, fmt.Sprintf("this is no valid JSON (column %d: %v), and the provider falls back to its defaults without a word: a PCCS at %s", column, err, defaultPCCS),
			"correct it here or at the end of the line before; comments are fine, a missing or an extra comma is not")
		return Default()
	}
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		l.add(1, Error, "this is JSON but no object, which the provider does not expect: it may crash", "put all into { and }")
		return Default()
	}
	config := Default()
	settings := config.settings()
	for _, m := range l.members(text, 1) {
		l.lines[m.key] = m.line
		into, known := settings[m.key]
		switch {
		case m.key == "custom_request_options":
			l.requestOptions(&config, m)
		case !known:
			l.unknown(m.line, m.key, append(keysOf(settings), "custom_request_options"))
		case !decode(m.value, into):
			l.ignored(m, kindOf(into))
		}
	}
	l.complete(&config)
	if t := strings.ToLower(config.TCBUpdateType); t != "early" && t != "standard" {
		l.find("tcb_update_type", Error, fmt.Sprintf("tcb_update_type is %q, and the provider drops the whole file for that: it asks a PCCS at %s", config.TCBUpdateType, defaultPCCS),
			"it has to be standard or early")
		return Default()
	}
	return config
}

// complete finishes what was read, and looks at it.
func (l *linter) complete(config *Config) {
	if l.lines["collateral_service"] == 0 {
		config.CollateralService = config.PCCSURL
	}
	l.check(config)
	config.PCKCacheHours = min(config.PCKCacheHours, maxCacheHours)
	config.VerifyCacheHours = min(config.VerifyCacheHours, maxCacheHours)
}

// legacy reads the format KEY=VALUE of former versions, which the provider tries
// on all that is no valid JSON. It returns false if the provider understands nothing.
func (l *linter) legacy(text string) (Config, bool) {
	config := Default()
	settings := config.settings()
	delete(settings, "tcb_update_type") // which is newer than the format
	var known []string
	for i, line := range strings.Split(text, "\n") {
		line = strings.Map(func(c rune) rune {
			if unicode.IsSpace(c) {
				return -1
			}
			return c
		}, line)
		key, value, _ := strings.Cut(line, "=")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name := strings.ToLower(key)
		into, ok := settings[name]
		if !ok || key != strings.ToUpper(key) {
			l.unknown(i+1, key, upper(keysOf(settings)))
			continue
		}
		known = append(known, key)
		l.lines[name] = i + 1
		if !decodeLegacy(value, into) {
			l.ignored(member{key, []byte(value), i + 1}, kindOf(into))
		}
	}
	if len(known) == 0 {
		l.findings = nil // what is wrong is that it is no JSON
		return config, false
	}
	l.add(0, Note, "this is in the old format KEY=VALUE, and the provider understands "+strings.Join(known, ", "), "write it as JSON, which has more settings")
	l.complete(&config)
	return config, true
}

// member is a member of a JSON object.
type member struct {
	key   string
	value json.RawMessage
	line  int // of the key in the file
}

// members returns the members of a JSON object, which begins in a line. Of those
// with the same key it returns the first, as the provider takes that one.
func (l *linter) members(object []byte, line int) []member {
	var all []member
	lines := map[string]int{}
	decoder := json.NewDecoder(bytes.NewReader(object))
	if _, err := decoder.Token(); err != nil {
		return nil
	}
	for decoder.More() {
		token, err := decoder.Token()
		key, ok := token.(string)
		if err != nil || !ok {
			break
		}
		m := member{key: key, line: line + bytes.Count(object[:decoder.InputOffset()], []byte("\n"))}
		if err := decoder.Decode(&m.value); err != nil {
			break
		}
		if first, twice := lines[key]; twice {
			l.add(m.line, Warning, fmt.Sprintf("%s is also in line %d, and the provider takes that one", key, first), "keep one of the two")
			continue
		}
		lines[key] = m.line
		all = append(all, m)
	}
	return all
}

// requestOptions reads {"get_cert": {"headers": {...}, "params": {...}}}.
func (l *linter) requestOptions(config *Config, options member) {
	for _, request := range l.object(options) {
		if request.key != "get_cert" {
			l.unknown(request.line, request.key, []string{"get_cert"})
			continue
		}
		for _, kind := range l.object(request) {
			values := map[string]string{}
			switch kind.key {
			case "headers":
				config.Headers = values
			case "params":
				config.Params = values
			default:
				l.unknown(kind.line, kind.key, []string{"headers", "params"})
				continue
			}
			for _, m := range l.object(kind) {
				var text string
				if !decode(m.value, &text) {
					l.ignored(m, "text in quotes")
					continue
				}
				values[m.key] = text
			}
		}
	}
}

// object returns the members of a value that has to be an object.
func (l *linter) object(m member) []member {
	if m.value[0] != '{' {
		l.ignored(m, "an object")
		return nil
	}
	return l.members(m.value, m.line)
}

// decode is true for a value that the provider takes.
func decode(value json.RawMessage, into any) bool {
	if string(value) == "null" {
		return false
	}
	if into, ok := into.(*int); ok {
		var n int32
		if json.Unmarshal(value, &n) != nil {
			return false
		}
		*into = int(n)
		return true
	}
	if _, ok := into.(*float64); ok && !bytes.ContainsAny(value, ".eE") {
		var n int32 // the provider takes no greater number that is whole
		if json.Unmarshal(value, &n) != nil {
			return false
		}
	}
	return json.Unmarshal(value, into) == nil
}

// decodeLegacy is true for a value in the old format that the provider takes.
func decodeLegacy(value string, into any) bool {
	switch into := into.(type) {
	case *string:
		*into = value
	case *bool:
		switch value {
		case "TRUE", "true":
			*into = true
		case "FALSE", "false":
			*into = false
		default:
			return false
		}
	case *int, *float64:
		var n int32
		if _, err := fmt.Sscanf(value, "%d", &n); err != nil {
			return false
		}
		switch into := into.(type) {
		case *int:
			*into = int(n)
		case *float64:
			*into = float64(n)
		}
	}
	return true
}

// blank replaces comments, which JSON does not have and the provider takes, by as
// many spaces. It leaves a comment that has no end, which the provider does not take.
func blank(text []byte) []byte {
	out := slices.Clone(text)
	inString := false
	for i := 0; i < len(out); i++ {
		rest, comment := out[i:], 0
		switch {
		case inString && rest[0] == '\\':
			i++
		case rest[0] == '"':
			inString = !inString
		case inString:
		case bytes.HasPrefix(rest, []byte("//")):
			comment = len(rest)
			if end := bytes.IndexByte(rest, '\n'); end >= 0 {
				comment = end
			}
		case bytes.HasPrefix(rest, []byte("/*")):
			if end := bytes.Index(rest[2:], []byte("*/")); end >= 0 {
				comment = 2 + end + 2
			}
		}
		for j := range comment {
			if rest[j] != '\n' {
				rest[j] = ' '
			}
		}
	}
	return out
}
