package qcnl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Parse returns the configuration that the provider reads from a file, and the findings
// in it.
func Parse(text []byte) (Config, []Finding) {
	l := &linter{lines: map[string]int{}}
	config := l.parse(text)
	slices.SortStableFunc(l.findings, func(a, b Finding) int { return a.Line - b.Line })
	return config, l.findings
}

func (l *linter) parse(file []byte) Config {
	if name, remedy := encodingOf(file); name != "" {
		// The provider takes the first characters for something else than JSON. The old
		// format might survive them, but not in one piece.
		l.add(1, Error, "the file is "+name+": "+silentDefaults, remedy)
		return Default()
	}
	text := blank(file)
	var value json.RawMessage
	if err := json.Unmarshal(text, &value); err != nil {
		if config, ok := l.legacy(string(file)); ok {
			return config
		}
		l.addSyntax(file, text, err)
		return Default()
	}
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		l.add(1, Error, "not a JSON object: the provider may crash", "put all settings between { and }")
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
		l.find("tcb_update_type", Error, fmt.Sprintf("tcb_update_type is %q, so the provider ignores the whole file and uses a PCCS at %s", config.TCBUpdateType, defaultPCCS),
			"set it to standard or early")
		return Default()
	}
	return config
}

// complete applies the provider's rules to what was read, and checks it.
func (l *linter) complete(config *Config) {
	if l.lines["collateral_service"] == 0 {
		config.CollateralService = config.PCCSURL
	}
	l.check(config)
	config.PCKCacheHours = min(config.PCKCacheHours, maxCacheHours)
	config.VerifyCacheHours = min(config.VerifyCacheHours, maxCacheHours)
}

// legacy reads the format KEY=VALUE of former versions, which the provider tries if the
// file is not valid JSON. It returns false if the provider does not know any of the keys.
func (l *linter) legacy(text string) (Config, bool) {
	config := Default()
	settings := config.settings()
	delete(settings, "tcb_update_type") // newer than this format
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
		l.findings = nil // report only the invalid JSON
		return config, false
	}
	l.add(0, Note, "the file is in the old format KEY=VALUE, of which the provider reads "+strings.Join(known, ", "), "convert it to JSON, which has more settings")
	l.complete(&config)
	return config, true
}

// member is a member of a JSON object.
type member struct {
	key   string
	value json.RawMessage
	line  int // line number of the key in the file
}

// members returns the members of a JSON object that begins on a line of the file. Of
// several with the same key it returns the first, which is the one that the provider
// uses.
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
			l.add(m.line, Warning, fmt.Sprintf("%s is already on line %d, and the provider uses that one", key, first), "keep one of the two")
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
					l.ignored(m, "a quoted string")
					continue
				}
				values[m.key] = text
				l.checkOptions(m.line, kind.key, m.key, text)
			}
		}
	}
}

// object returns the members of a value that must be an object.
func (l *linter) object(m member) []member {
	if m.value[0] != '{' {
		l.ignored(m, "an object")
		return nil
	}
	return l.members(m.value, m.line)
}

// decode decodes a value. It reports whether the provider accepts it.
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
		var n int32 // the provider accepts no larger integer
		if json.Unmarshal(value, &n) != nil {
			return false
		}
	}
	return json.Unmarshal(value, into) == nil
}

// decodeLegacy decodes a value in the old format. It reports whether the provider accepts
// it.
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

// blank replaces comments, which the provider accepts although JSON has none, by as many
// spaces. It leaves unterminated comments, which the provider does not accept.
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
