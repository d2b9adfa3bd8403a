package targets

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/confcom/confcom/sgx"
)

// target returns a target.
func target(n int) sgx.TargetInfo {
	var t sgx.TargetInfo
	t.MREnclave[0] = byte(n)
	t.ConfigID[0] = byte(n)
	return t
}

func open(path string) (*Memory, *bytes.Buffer) {
	var log bytes.Buffer
	return Open(path, slog.New(slog.NewTextHandler(&log, nil))), &log
}

func TestReplaced(t *testing.T) {
	withoutFile := new(Memory)
	withFile, log := open(filepath.Join(t.TempDir(), "targets"))
	for _, m := range []*Memory{withoutFile, withFile} {
		for i, step := range []struct {
			target int
			want   bool
		}{{1, false}, {1, false}, {2, true}, {1, true}} {
			m.Learn(target(step.target))
			if got := m.Replaced(); got != step.want {
				t.Errorf("after %d steps: %v, want %v", i+1, got, step.want)
			}
		}
	}
	if log.Len() > 0 {
		t.Error(log)
	}
}

// The targets outlive the process, with all their bytes, and the last ones are kept.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "targets")
	reserved := target(7)
	binary, _ := reserved.MarshalBinary()
	binary[sgx.TargetInfoSize-1] = 9
	if err := reserved.UnmarshalBinary(binary); err != nil {
		t.Fatal(err)
	}
	for i := range most + 2 {
		m, log := open(path)
		m.Learn(reserved)
		m.Learn(target(i))
		if log.Len() > 0 {
			t.Error(log)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 || info.Size() > fileSize {
			t.Fatalf("%v %v", info, err)
		}
	}
	m, _ := open(path)
	if !m.Replaced() || len(m.known) != most || m.known[most-1] != target(most+1) {
		t.Errorf("%d targets, the last is %s", len(m.known), m.known[len(m.known)-1].MREnclave)
	}
	if !slices.Contains(m.known, reserved) {
		t.Error("a target with reserved bytes has changed")
	}
}

// One call at a time asks for the target, and at most one in an interval, whether it learns one
// or not. The others wait for it.
func TestAsk(t *testing.T) {
	for _, learns := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			m := new(Memory)
			var asked atomic.Int32
			ask := func() {
				asked.Add(1)
				time.Sleep(time.Second / 10)
				if learns {
					m.Learn(target(1))
				}
			}
			start := time.Now()
			var calls sync.WaitGroup
			for range 10 {
				calls.Go(func() {
					m.Ask(t.Context(), time.Second, ask)
					if took := time.Since(start); took != time.Second/10 {
						t.Errorf("waited for %s", took)
					}
				})
			}
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			synctest.Wait()
			m.Ask(gone, time.Second, ask)
			if took := time.Since(start); took > 0 {
				t.Errorf("a request that was given up has waited for %s", took)
			}
			calls.Wait()
			for range 15 {
				m.Ask(t.Context(), time.Second, ask)
				time.Sleep(time.Second / 10)
			}
			if n := asked.Load(); n != 2 {
				t.Errorf("learns %v: asked %d times in 1.7 s, want 2", learns, n)
			}
		})
	}
}

// Processes that run at the same time share the file.
func TestShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "targets")
	old, _ := open(path)
	old.Learn(target(1))
	updated, _ := open(path)
	updated.Learn(target(2))
	if old.Replaced() {
		t.Error("the old one knows without reading the file")
	}
	if old.Reload(); !old.Replaced() {
		t.Error("the old one does not know after reading the file")
	}
	var writing sync.WaitGroup
	for i := range 4 {
		writing.Go(func() { old.Learn(target(3 + i)) })
	}
	writing.Wait()
	if known, err := read(path, old.boot); len(known) != 6 || err != nil {
		t.Errorf("%d targets, %v", len(known), err)
	}
}

// A file that is not this process's, or not such a file, is not used. It is logged once
// and, where possible, replaced.
func TestOtherFiles(t *testing.T) {
	boot, err := os.ReadFile(bootFile)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("00", sgx.TargetInfoSize) + "\n"
	valid := string(boot) + line
	write := func(text string, mode os.FileMode) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
		want string // in the log
	}{
		{"empty", write("", 0o600), "up to 8 lines"},
		{"valid", write(valid, 0o600), ""},
		{"of an earlier boot", write("x"+valid[1:], 0o600), ""},
		{"without a boot", write(line, 0o600), "up to 8 lines"},
		{"cut off", write(valid[:100], 0o600), "up to 8 lines"},
		{"too long", write(valid+strings.Repeat(line, most), 0o600), "up to 8 lines"},
		{"no digits", write(string(boot)+"x"+line[1:], 0o600), "line 1: not 1024 hexadecimal digits"},
		{"no line", write(valid+line[:len(line)-1]+" ", 0o600), "line 2: not 1024 hexadecimal digits"},
		{"writable by others", write(valid, 0o622), "other users may write the file: mode 0622"},
		{"link", func(t *testing.T, path string) {
			write(valid, 0o600)(t, path+".other")
			if err := os.Symlink(path+".other", path); err != nil {
				t.Fatal(err)
			}
		}, "too many levels of symbolic links"},
		{"FIFO", func(t *testing.T, path string) {
			if err := unix.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
		{"another user's", func(t *testing.T, path string) {
			write(valid, 0o600)(t, path)
			if err := os.Chown(path, 4711, -1); err != nil {
				t.Skip("NOT RUN: needs root")
			}
		}, "the file belongs to user 4711"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "targets")
			tt.make(t, path)
			m, log := open(path)
			if !strings.Contains(log.String(), tt.want) || (tt.want == "") != (log.Len() == 0) {
				t.Errorf("log %q, want %q", log, tt.want)
			}
			m.Reload()
			if n := strings.Count(log.String(), "\n"); n > 1 {
				t.Errorf("%d lines in the log", n)
			}
			m.Learn(target(1))
			if got, want := m.Replaced(), tt.name == "valid"; got != want {
				t.Errorf("Replaced: %v, want %v", got, want)
			}
			m.Learn(target(2))
			if known, err := read(path, m.boot); err != nil || !slices.Contains(known, target(2)) {
				t.Errorf("the file was not replaced: %v", err)
			}
		})
	}
}

// Where the file cannot be written, the memory works until the process ends.
func TestNoDirectory(t *testing.T) {
	m, log := open(filepath.Join(t.TempDir(), "none", "targets"))
	m.Learn(target(1))
	m.Learn(target(2))
	if !m.Replaced() {
		t.Error("the targets are forgotten")
	}
	if n := strings.Count(log.String(), "store quoting enclave failed"); n == 0 {
		t.Error(log)
	}
}
