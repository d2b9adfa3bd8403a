package installation

import (
	"strings"
	"testing"

	"github.com/confcom/confcom/internal/installation"
)

// TestShow checks what is printed, and that advice which is the same is printed once.
func TestShow(t *testing.T) {
	for _, tt := range []struct {
		checks []installation.Check
		want   string
	}{
		{[]installation.Check{{Name: "a", OK: true, Seen: "1 of 1 pods are ready"}, {Name: "EPC", OK: true, Seen: "much"}},
			"a                 ok: 1 of 1 pods are ready\nEPC               ok: much\n\nthe installation works\n"},
		{[]installation.Check{{Name: "a", Seen: "gone", Remedy: "restore it"}, {Name: "b", Seen: "gone", Remedy: "restore it"}, {Name: "c", OK: true, Seen: "in force"}},
			"a                 FAILED: gone\n                  -> restore it\nb                 FAILED: gone\n                  -> as for a\nc                 ok: in force\n\nTHE INSTALLATION DOES NOT WORK; start with the first that failed\n"},
	} {
		var b strings.Builder
		if err := show(&b, tt.checks); err != nil {
			t.Fatal(err)
		}
		if b.String() != tt.want {
			t.Errorf("got\n%s\nwant\n%s", &b, tt.want)
		}
	}
}

// TestRefuses checks the errors for objects that cannot be checked, and outside of a pod.
func TestRefuses(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for want, args := range map[string][]string{
		"want KIND/NAME":      {"--object=Secret/a"},
		"this is not a pod":   {"--object=DaemonSet/a"},
		"unexpected argument": {"DaemonSet/a"},
	} {
		command := New()
		command.SetArgs(args)
		command.SilenceErrors, command.SilenceUsage = true, true
		if err := command.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}
