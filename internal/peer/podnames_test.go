package peer

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPodNames(t *testing.T) {
	const (
		job    = "0f6b2c5e-7a0e-4f43-9c86-5d1f6f6f3b0a"
		static = "0123456789abcdef0123456789abcdef"
		later  = "1f6b2c5e-7a0e-4f43-9c86-5d1f6f6f3b0a"
	)
	dir := t.TempDir()
	add := func(name string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	add("default_attested-job-x2x4z_" + job)
	add("kube-system_etcd-node-1_" + static)
	add("not-of-a-pod")
	add("too_many_parts_" + later)
	add("a_b_c")

	n := newPodNames(dir)
	want := map[string]podName{
		job:    {"default", "attested-job-x2x4z"},
		static: {"kube-system", "etcd-node-1"},
		later:  {},
		"c":    {},
		"":     {},
	}
	check := func() {
		t.Helper()
		for uid, want := range want {
			if got := n.of(uid); got != want {
				t.Errorf("%q: %v, want %v", uid, got, want)
			}
		}
	}
	check()
	add("team-a_new_" + later)
	want[later] = podName{"team-a", "new"}
	check()
}

func TestPodNamesUnknown(t *testing.T) {
	if got := newPodNames("").of("0f6b2c5e-7a0e-4f43-9c86-5d1f6f6f3b0a"); got != (podName{}) {
		t.Errorf("without a directory: %v", got)
	}
	if got := newPodNames(filepath.Join(t.TempDir(), "missing")).of("0f6b2c5e-7a0e-4f43-9c86-5d1f6f6f3b0a"); got != (podName{}) {
		t.Errorf("with one that does not exist: %v", got)
	}
}
