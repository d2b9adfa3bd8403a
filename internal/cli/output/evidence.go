package output

import (
	"fmt"
	"io"
	"strings"

	"github.com/confcom/confcom/evidence"
)

// Evidence writes the form of evidence, what else was in it, and what is in its quote.
func Evidence(w io.Writer, e *evidence.Evidence) error {
	p := NewPage(w)
	if len(e.Forms) > 1 || e.Padding > 0 {
		p.Text("form", formPath(e))
		for _, a := range e.Attachments {
			p.Row("attached", "%s, %d bytes", a.Kind, len(a.Data))
		}
		p.Line("")
	}
	if err := p.Err(); err != nil {
		return err
	}
	if err := Quote(w, e.Parsed, len(e.Quote)); err != nil {
		return err
	}
	if c := e.Certification(); c.Missing != evidence.NothingMissing || c.Err != nil {
		p.Text("", c.String())
	}
	return p.Err()
}

// formPath returns the forms from the outside in.
func formPath(e *evidence.Evidence) string {
	names := make([]string, len(e.Forms))
	for i, f := range e.Forms {
		names[i] = string(f)
	}
	text := strings.Join(names, " > ")
	if e.Padding > 0 {
		text += fmt.Sprintf(", then %d bytes of padding", e.Padding)
	}
	return text
}
