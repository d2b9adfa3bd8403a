package supportbundle

import (
	"regexp"
	"strings"
)

// secrets match what may be a secret in a configuration: user and password in a URL, and
// its query; the values of HTTP headers.
var (
	inURL   = regexp.MustCompile(`://[^/@\s"']*@`)
	query   = regexp.MustCompile(`(://[^\s"'?]*)\?[^\s"']*`)
	headers = regexp.MustCompile(`(?s)("headers"\s*:\s*)\{.*?\}`)
	value   = regexp.MustCompile(`(:\s*)"(?:[^"\\]|\\.)*"`)
	keyLike = regexp.MustCompile(`(?im)^(.*(?:api[-_]?key|subscription|token|password|secret|authorization)[^:=]*[:=]\s*).*$`)
)

// redact removes what may be a secret from the text of a configuration. What Azure's
// metadata service requires is none.
func redact(text []byte) []byte {
	s := inURL.ReplaceAllString(string(text), "://[left out]@")
	s = query.ReplaceAllString(s, "$1?[left out]")
	s = headers.ReplaceAllStringFunc(s, func(object string) string {
		var out strings.Builder
		for line := range strings.Lines(object) {
			if !strings.Contains(strings.ToLower(line), `"metadata"`) {
				line = value.ReplaceAllString(line, `$1"[left out]"`)
			}
			out.WriteString(line)
		}
		return out.String()
	})
	return []byte(keyLike.ReplaceAllString(s, "$1[left out]"))
}
