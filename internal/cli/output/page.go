package output

import (
	"fmt"
	"io"
	"strings"
)

// Page writes rows of a name and a value, one below the other. After an error it
// writes nothing more.
type Page struct {
	w   io.Writer
	err error
}

// NewPage returns a page that is written to w.
func NewPage(w io.Writer) *Page { return &Page{w: w} }

// Err returns the first error of writing.
func (p *Page) Err() error { return p.err }

// Line writes a line that is no row.
func (p *Page) Line(text string) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, text)
	}
}

// Row writes a name and a value.
func (p *Page) Row(name, format string, args ...any) {
	p.Line(fmt.Sprintf("%-16s  ", name) + fmt.Sprintf(format, args...))
}

// Text writes a name and a value that may be long, wrapped to lines of 80 columns.
func (p *Page) Text(name, value string) {
	const width = 62 // beside the name
	var line string
	for word := range strings.FieldsSeq(value) {
		if line != "" && len(line)+1+len(word) > width {
			p.Row(name, "%s", line)
			name, line = "", ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	p.Row(name, "%s", line)
}
