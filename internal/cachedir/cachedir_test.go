//go:build unix

package cachedir

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func open(t *testing.T, path string) *Dir {
	t.Helper()
	dir, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

func TestReadWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	if err := Make(path); err != nil {
		t.Fatal(err)
	}
	dir := open(t, path)
	if _, _, err := dir.Read("x", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	for _, text := range []string{"one", "two"} {
		if err := dir.Write("x", []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, info, err := dir.Read("x", 3)
		if err != nil || string(got) != text || info.Mode() != 0o600 {
			t.Errorf("%q, %v, %v", got, info, err)
		}
	}
	if _, _, err := dir.Read("x", 2); err == nil || !strings.Contains(err.Error(), "has 3 bytes, want at most 2") {
		t.Errorf("too large: %v", err)
	}
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	for range 2 {
		lock, err := dir.Lockfile(".lock")
		if err != nil {
			t.Fatal(err)
		}
		lock.Close()
	}
}

// Only directories that nobody else can write to are used.
func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(path string) error
		want  string
	}{
		{"missing", func(string) error { return nil }, "no such file"},
		{"a file", func(path string) error { return os.WriteFile(path, nil, 0o600) }, "is a file"},
		{"a link to a directory", func(path string) error { return os.Symlink(filepath.Dir(path), path) }, "is a symbolic link"},
		{"a FIFO", func(path string) error { return syscall.Mkfifo(path, 0o600) }, "is a FIFO"},
		{"writable by the group", func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o770)) }, "can be written by others (mode 0770)"},
		{"writable by everybody", func(path string) error {
			return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o777|os.ModeSticky))
		}, "can be written by others (mode 0777)"},
		{"another user's", func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Chown(path, 12345, -1)) }, "belongs to user 12345"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "cache")
			if err := c.setup(path); errors.Is(err, fs.ErrPermission) {
				t.Skipf("NOT RUN: needs root: %v", err)
			} else if err != nil {
				t.Fatal(err)
			}
			if dir, err := Open(path); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, %v; want %q", dir, err, c.want)
			}
		})
	}
}

// Whatever is in the place of a file, it is neither read nor waited for, nor written through.
func TestFilesRefused(t *testing.T) {
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		setup func(path string) error
		want  string
	}{
		{"a link", func(path string) error { return os.Symlink(victim, path) }, "is a symbolic link"},
		{"a link in the directory", func(path string) error {
			return errors.Join(os.WriteFile(path+"2", nil, 0o600), os.Symlink(filepath.Base(path)+"2", path))
		}, "is a symbolic link"},
		{"a FIFO", func(path string) error { return syscall.Mkfifo(path, 0o600) }, "is a FIFO"},
		{"a directory", func(path string) error { return os.Mkdir(path, 0o700) }, "is a directory"},
		{"a device", func(path string) error { return syscall.Mknod(path, syscall.S_IFCHR|0o600, 1<<8|5) }, "is a device"},
		{"writable by others", func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o622))
		}, "can be written by others"},
		{"another user's", func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chown(path, 12345, -1))
		}, "belongs to user 12345"},
		{"sparse and huge", func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) }, "want at most 10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := t.TempDir()
			if err := os.Chmod(path, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := c.setup(filepath.Join(path, "x")); errors.Is(err, fs.ErrPermission) {
				t.Skipf("NOT RUN: needs root: %v", err)
			} else if err != nil {
				t.Fatal(err)
			}
			dir := open(t, path)
			if got, _, err := dir.Read("x", 10); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
			if c.want != "want at most 10" {
				if _, err := dir.Lockfile("x"); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("lock: %v; want %q", err, c.want)
				}
			}
			if err := dir.Write("x", []byte("new")); err == nil {
				if got, _, err := dir.Read("x", 10); err != nil || !bytes.Equal(got, []byte("new")) {
					t.Errorf("written: %q, %v", got, err)
				}
			} else if c.name != "a directory" {
				t.Error(err)
			}
			if text, err := os.ReadFile(victim); err != nil || string(text) != "precious" {
				t.Errorf("the link's target has %q, %v", text, err)
			}
		})
	}
}
