package deviceplugin

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

// writeError is why a file could not be replaced. Its text does not change from one attempt
// to the next, so that it is logged once.
type writeError struct {
	text string
	err  error
}

func (e *writeError) Error() string { return e.text }
func (e *writeError) Unwrap() error { return e.err }

// nameFile returns err, why the file at path could not be replaced, with that path in place
// of the temporary file's, which is another one in each attempt.
func nameFile(path string, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if named, ok := errors.AsType[*fs.PathError](err); ok {
		text = strings.ReplaceAll(text, named.Path, path)
	} else if linked, ok := errors.AsType[*os.LinkError](err); ok {
		text = strings.ReplaceAll(text, linked.Old, path)
	}
	if !strings.Contains(text, path) {
		text = path + ": " + text
	}
	return &writeError{text, err}
}
