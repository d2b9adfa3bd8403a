package manifest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// source is a text whose nodes can be found again in it.
type source struct {
	bytes []byte
	lines []int // the offsets of the lines
}

// edit replaces the bytes from start to end.
type edit struct {
	start, end int
	text       string
}

func newSource(text []byte) *source {
	s := &source{bytes: text, lines: []int{0}}
	for i, b := range text {
		if b == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// apply returns the text with the edits made.
func (s *source) apply(edits []edit) ([]byte, error) {
	edits = slices.Clone(edits)
	// What is inserted at a place comes before what replaces it.
	slices.SortStableFunc(edits, func(a, b edit) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return a.end - b.end
	})
	var out bytes.Buffer
	at := 0
	for _, e := range edits {
		if e.start < at {
			return nil, fmt.Errorf("line %d is changed twice: convert it by hand", s.line(e.start))
		}
		out.Write(s.bytes[at:e.start])
		out.WriteString(e.text)
		at = e.end
	}
	out.Write(s.bytes[at:])
	return out.Bytes(), nil
}

// line returns the line, from 1, that an offset is in.
func (s *source) line(offset int) int {
	line, found := slices.BinarySearch(s.lines, offset)
	if found {
		line++
	}
	return line
}

// start returns the offset of a node.
func (s *source) start(n *yaml.Node) (int, error) {
	if n.Line < 1 || n.Line > len(s.lines) {
		return 0, fmt.Errorf("line %d cannot be found: convert it by hand", n.Line)
	}
	at := s.lines[n.Line-1]
	if at == 0 && bytes.HasPrefix(s.bytes, []byte("\ufeff")) {
		at = len("\ufeff")
	}
	for range n.Column - 1 { // columns are characters
		_, size := utf8.DecodeRune(s.bytes[at:])
		at += size
	}
	return at, nil
}

// scalar returns where a scalar on one line starts and ends.
func (s *source) scalar(n *yaml.Node) (start, end int, err error) {
	if start, err = s.start(n); err != nil {
		return 0, 0, err
	}
	rest := s.bytes[start:]
	switch {
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		quote := string(s.bytes[start : start+1])
		if end := strings.Index(string(rest[1:]), quote); end >= 0 && string(rest[1:1+end]) == n.Value {
			return start, start + 1 + end + 1, nil
		}
	case n.Style == 0 && n.Anchor == "" && n.Value != "" && bytes.HasPrefix(rest, []byte(n.Value)):
		return start, start + len(n.Value), nil
	}
	return 0, 0, fmt.Errorf("line %d: %q is written in a way that is not understood: convert it by hand", n.Line, n.Value)
}

// replace returns the edit that writes something else in the place of a scalar.
func (s *source) replace(n *yaml.Node, text string) (edit, error) {
	start, end, err := s.scalar(n)
	return edit{start, end, text}, err
}

// isFlow reports whether a collection is written in braces or brackets, as in JSON.
func isFlow(n *yaml.Node) bool { return n.Style&yaml.FlowStyle != 0 }

// remove returns the edit that removes entry i of a mapping, whose value is a scalar.
func (s *source) remove(mapping *yaml.Node, i int) (edit, error) {
	key, value := mapping.Content[2*i], mapping.Content[2*i+1]
	start, _, err := s.scalar(key)
	if err != nil {
		return edit{}, err
	}
	_, end, err := s.scalar(value)
	if err != nil {
		return edit{}, err
	}
	switch {
	case !isFlow(mapping):
		// The whole line, with its comment.
		from, to := s.lines[key.Line-1], len(s.bytes)
		if key.Line < len(s.lines) {
			to = s.lines[key.Line]
		}
		if value.Line != key.Line || len(bytes.TrimSpace(s.bytes[from:start])) > 0 {
			return edit{}, fmt.Errorf("line %d: %s is not on a line of its own: convert it by hand", key.Line, key.Value)
		}
		return edit{from, to, ""}, nil
	case 2*i+2 < len(mapping.Content):
		next, err := s.start(mapping.Content[2*i+2])
		return edit{start, next, ""}, err
	case i > 0:
		_, previous, err := s.scalar(mapping.Content[2*i-1])
		return edit{previous, end, ""}, err
	}
	return edit{start, end, ""}, nil
}

// insertEntry returns the edit that adds an entry before entry i of a mapping: block is its
// text, of lines that are indented as if the mapping were not, flow its text in braces.
func (s *source) insertEntry(mapping *yaml.Node, i int, block, flow string) (edit, error) {
	key := mapping.Content[2*i]
	at, err := s.start(key)
	if err != nil {
		return edit{}, err
	}
	if isFlow(mapping) {
		return edit{at, at, flow + ", "}, nil
	}
	return edit{at, at, s.before(at, block)}, nil
}

// insertItem returns the edit that adds an item before the others of a sequence.
func (s *source) insertItem(sequence *yaml.Node, block, flow string) (edit, error) {
	at, err := s.start(sequence)
	if err != nil {
		return edit{}, err
	}
	if name := "&" + sequence.Anchor; sequence.Anchor != "" && bytes.HasPrefix(s.bytes[at:], []byte(name)) {
		at += len(name)
		at += len(s.bytes[at:]) - len(bytes.TrimLeft(s.bytes[at:], " \r\n"))
	}
	switch {
	case at == len(s.bytes):
	case isFlow(sequence) && s.bytes[at] != '[':
	case isFlow(sequence) && len(sequence.Content) > 0:
		return edit{at + 1, at + 1, flow + ", "}, nil
	case isFlow(sequence):
		return edit{at + 1, at + 1, flow}, nil
	case s.bytes[at] == '-':
		return edit{at, at, s.before(at, block)}, nil
	}
	return edit{}, fmt.Errorf("line %d: the list is written in a way that is not understood: convert it by hand", sequence.Line)
}

// before returns lines as a text that can stand before what is at an offset, with its
// indentation and line ends.
func (s *source) before(at int, lines string) string {
	line := s.line(at)
	column := utf8.RuneCount(s.bytes[s.lines[line-1]:at])
	end := "\n"
	if line < len(s.lines) && bytes.HasSuffix(s.bytes[:s.lines[line]], []byte("\r\n")) {
		end = "\r\n"
	}
	return strings.ReplaceAll(lines+"\n", "\n", end+strings.Repeat(" ", column))
}
