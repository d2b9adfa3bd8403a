package node

import (
	"strings"
	"testing"
)

func TestAccess(t *testing.T) {
	const uid, gid = 65532, 65532
	for _, c := range []struct {
		name    string
		access  Access
		allowed bool   // for a pod of another user
		problem string // part of what happens to it
		advice  string
	}{
		{"every user", Access{0o666, 0, 0}, true, "", ""},
		{"a group", Access{0o660, 0, 107}, false, "nor in group 107", "supplementalGroups"},
		{"the group of root", Access{0o660, 0, 0}, false, "whatever its groups", "device_ownership_from_security_context"},
		{"root only", Access{0o600, 0, 107}, false, "whatever its groups", "device_ownership_from_security_context"},
		{"its own", Access{0o600, uid, gid}, true, "whatever its groups", "udev"},
		{"its own group", Access{0o660, 0, gid}, true, "nor in group 65532", "supplementalGroups"},
		{"its own, for reading", Access{0o466, uid, 0}, false, "", ""},
		{"its own group, for reading", Access{0o646, 0, gid}, false, "", ""},
	} {
		if got := c.access.Allows(uid, []int{gid}); got != c.allowed {
			t.Errorf("%s: allowed: %t", c.name, got)
		}
		problem, advice := c.access.ForPods()
		if (problem == "") != (c.problem == "") || !strings.Contains(problem, c.problem) || !strings.Contains(advice, c.advice) {
			t.Errorf("%s: %q, %q; want %q, %q", c.name, problem, advice, c.problem, c.advice)
		}
		if strings.Contains(advice, "add 0 ") {
			t.Errorf("%s: %q sends pods into the group of root", c.name, advice)
		}
	}
	if got, want := (Access{0o660, 0, 107}).String(), "mode 0660, owner 0, group 107"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
