package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestEmptyDir(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "a", "link")); err != nil {
		t.Fatal(err)
	}
	if err := emptyDir(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a file that a link led to is gone: %v", err)
	}
	if err := emptyDir(filepath.Join(dir, "absent")); err != nil {
		t.Errorf("absent: %v", err)
	}
}

func TestRebootWithoutCluster(t *testing.T) {
	if err := reboot(t.Context(), layout{State: filepath.Join(t.TempDir(), "none")}, nil, nil); err != errDown {
		t.Errorf("%v, want %v", err, errDown)
	}
}
