package demo_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/confcom/confcom/internal/cli/clitest"
	"github.com/confcom/confcom/internal/cli/demo"
)

// The demo shows both verdicts.
func TestDemo(t *testing.T) {
	out := clitest.MustRun(t, "demo")
	refused, trusted := strings.Index(out, "\nNOT TRUSTED (failed: trusted root)\n"), strings.Index(out, "\nTRUSTED until ")
	if refused < 0 || trusted < refused {
		t.Errorf("%s", out)
	}
}

// The demo leaves nothing behind, even if its first word ends the process: head closes the
// pipe that it prints to.
func TestClosedPipe(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	command := demo.New()
	command.SetArgs(nil)
	command.SetOut(writerFunc(func(p []byte) (int, error) {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("while it prints, %v exists (%v)", left, err)
		}
		return 0, syscall.EPIPE
	}))
	if err := command.ExecuteContext(t.Context()); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v, want EPIPE", err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
