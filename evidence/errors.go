package evidence

import (
	"errors"
	"fmt"
	"strings"
)

// The causes of errors. An *Error wraps one of them.
var (
	// ErrNoQuote means that the data is something else. The error is a *NoQuoteError.
	ErrNoQuote = errors.New("no quote found")
	// ErrMalformed means that a form was recognized, and what is in it is damaged or not
	// understood. If it is the quote itself, the error also wraps a *quote.FormatError.
	ErrMalformed = errors.New("malformed")
	// ErrTrailing means that bytes follow the quote that are not padding.
	ErrTrailing = errors.New("bytes left over")
	// ErrAmbiguous means that the data holds several quotes, or could be read in two ways.
	ErrAmbiguous = errors.New("ambiguous")
	// ErrTooLarge means that the data is longer than MaxSize.
	ErrTooLarge = errors.New("too large")
)

// Error is returned for data from which no quote can be read.
type Error struct {
	// Forms are the forms that were recognized, from the outside in.
	Forms []Form
	Err   error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("evidence: ")
	for _, f := range e.Forms {
		b.WriteString(string(f))
		b.WriteString(": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// locate returns err as an *Error in these forms.
func locate(err error, forms ...Form) *Error {
	if inner, ok := err.(*Error); ok { // not one in a chain, whose text would be lost
		return &Error{Forms: append(forms, inner.Forms...), Err: inner.Err}
	}
	return &Error{Forms: forms, Err: err}
}

// NoQuoteError is returned for data that is something else than evidence with a quote.
type NoQuoteError struct {
	// LooksLike is what the data looks like, such as "an SEV-SNP report".
	LooksLike string
	// Advice is what to do, if that is known.
	Advice string
}

func (e *NoQuoteError) Error() string {
	text := ErrNoQuote.Error() + ": this looks like " + e.LooksLike
	if e.Advice != "" {
		text += ": " + e.Advice
	}
	return text
}

// Is reports whether target is ErrNoQuote.
func (e *NoQuoteError) Is(target error) bool { return target == ErrNoQuote }

// looksLike returns the error for data that is something else.
func looksLike(what, advice string) error { return &NoQuoteError{LooksLike: what, Advice: advice} }

// malformed returns err as a cause of ErrMalformed.
func malformed(err error) error { return fmt.Errorf("%w: %w", ErrMalformed, err) }

// damaged returns err as a cause of ErrMalformed unless it has another cause.
func damaged(err error) error {
	for _, cause := range []error{ErrNoQuote, ErrMalformed, ErrTrailing, ErrAmbiguous} {
		if errors.Is(err, cause) {
			return err
		}
	}
	return malformed(err)
}
