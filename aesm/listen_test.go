package aesm

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestListen(t *testing.T) {
	path := socketPath(t)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o777 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if l.Addr().String() != path {
		t.Errorf("address %s", l.Addr())
	}
	if _, err := Listen(path); !errors.Is(err, ErrInUse) {
		t.Errorf("a second Listen: %v", err)
	}
	dialUnix(t, path) // the first one is still there
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a second Close: %v", err)
	}
}

func TestListenReplacesStaleSocket(t *testing.T) {
	path := socketPath(t)
	leaveStale(t, path)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o777 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	dialUnix(t, path)
	l.Close()
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestListenerLeavesTheSocketOfAnother(t *testing.T) {
	path := socketPath(t)
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	second, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	first.Close()
	dialUnix(t, path)
}

func TestListenRefuses(t *testing.T) {
	dir := filepath.Dir(socketPath(t))
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	dgram := filepath.Join(dir, "dgram")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dgram, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	long := filepath.Join(dir, strings.Repeat("x", maxSocketPath-len(dir)))

	for _, tt := range []struct {
		path string
		want error
	}{
		{file, ErrNotSocket},
		{link, ErrNotSocket},
		{dir, ErrNotSocket},
		{dgram, ErrInUse},
		{long, ErrPathTooLong},
		{filepath.Join(file, "aesm.socket"), syscall.ENOTDIR},
	} {
		_, err := Listen(tt.path)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.path, err, tt.want)
		} else if !strings.Contains(err.Error(), tt.path) {
			t.Errorf("the error does not name the path: %v", err)
		}
	}
	if b, err := os.ReadFile(file); string(b) != "precious" {
		t.Errorf("the file is gone: %v", err)
	}
	if l, err := Listen(long[:maxSocketPath]); err != nil {
		t.Errorf("a path of %d bytes: %v", maxSocketPath, err)
	} else {
		l.Close()
	}
}

func TestListenMakesTheLastDirectory(t *testing.T) {
	dir := filepath.Dir(socketPath(t))
	l, err := Listen(filepath.Join(dir, "aesmd", "aesm.socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(filepath.Join(dir, "aesmd")); err != nil || info.Mode() != fs.ModeDir|0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	_, err = Listen(filepath.Join(dir, "a", "b", "aesm.socket"))
	if err == nil || !strings.Contains(err.Error(), "create them") {
		t.Errorf("two directories are missing: %v", err)
	}
}
