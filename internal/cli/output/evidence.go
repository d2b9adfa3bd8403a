package output

import (
	"fmt"
	"io"
	"strings"

	"github.com/confcom/confcom/evidence"
)

// Evidence writes the form of evidence, what else was in it, and what is in its quote.
func Evidence(w io.Writer, e *evidence.Evidence) error {
	if err := Form(w, e.Summary()); err != nil {
		return err
	}
	p := NewPage(w)
	if err := Quote(w, e.Parsed, len(e.Quote)); err != nil {
		return err
	}
	if c := e.Certification(); c.Missing != evidence.NothingMissing || c.Err != nil {
		p.Text("", c.String())
	}
	return p.Err()
}

// Form writes the form of evidence and what was attached to the quote, unless it is a quote and
// nothing else.
func Form(w io.Writer, s evidence.Summary) error {
	p := NewPage(w)
	if len(s.Forms) == 1 && s.Padding == 0 {
		return nil
	}
	p.Text("form", formPath(s))
	for _, a := range s.Attachments {
		text := fmt.Sprintf("%s, %d bytes", a.Kind, a.Size)
		if a.InReportData {
			text += "; the report data begins with its SHA-256"
		}
		p.Text("attached", text)
	}
	p.Line("")
	return p.Err()
}

// formPath returns the forms from the outside in.
func formPath(s evidence.Summary) string {
	names := make([]string, len(s.Forms))
	for i, f := range s.Forms {
		names[i] = string(f)
	}
	text := strings.Join(names, " > ")
	if s.Padding > 0 {
		text += fmt.Sprintf(", then %d bytes of padding", s.Padding)
	}
	return text
}
