package exit_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/confcom/confcom/internal/cli/exit"
)

func TestCode(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		err   error
		code  int
		text  string
		wraps bool
	}{
		{nil, exit.CodeOK, "<nil>", false},
		{cause, exit.CodeBadInput, "cause", true},
		{exit.Failed(cause), exit.CodeFailed, "cause", true},
		{exit.BadInput(cause), exit.CodeBadInput, "cause", true},
		{fmt.Errorf("context: %w", exit.Failed(cause)), exit.CodeFailed, "context: cause", true},
		{exit.Quietly(exit.CodeFailed), exit.CodeFailed, "exit code 1", false},
	} {
		if exit.Code(c.err) != c.code || fmt.Sprint(c.err) != c.text || errors.Is(c.err, cause) != c.wraps {
			t.Errorf("%v: code %d, want %d and %q", c.err, exit.Code(c.err), c.code, c.text)
		}
	}
}
