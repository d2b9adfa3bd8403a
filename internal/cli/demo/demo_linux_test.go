package demo_test

import (
	"strings"
	"testing"

	"github.com/confcom/confcom/internal/cli/clitest"
)

// The demo shows both verdicts.
func TestDemo(t *testing.T) {
	out := clitest.MustRun(t, "demo")
	refused, trusted := strings.Index(out, "\nNOT TRUSTED (failed: trusted root)\n"), strings.Index(out, "\nTRUSTED until ")
	if refused < 0 || trusted < refused {
		t.Errorf("%s", out)
	}
}
