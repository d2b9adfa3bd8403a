package aesm

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
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
	dialUnix(t, path) // the first one still listens
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close, the socket file: %v", err)
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

func TestListenerKeepsAnotherSocket(t *testing.T) {
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
		{dir, ErrDirectory},
		{dir + "/", ErrDirectory},
		{"", ErrNoPath},
		{"@aesm", ErrAbstract},
		{"\x00aesm", ErrAbstract},
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
		t.Errorf("the file was changed: %v", err)
	}
	if l, err := Listen(long[:maxSocketPath]); err != nil {
		t.Errorf("a path of %d bytes: %v", maxSocketPath, err)
	} else {
		l.Close()
	}
}

func TestListenCreatesTheDirectory(t *testing.T) {
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
		t.Errorf("with two missing directories: %v", err)
	}
}

func TestTakeOver(t *testing.T) {
	path := socketPath(t)
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	first, err := TakeOver(path) // there is none to take over from
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	early := dialUnix(t, path)
	second, err := TakeOver(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if first.Current() || !second.Current() {
		t.Errorf("Current: %v for the first, %v for the second", first.Current(), second.Current())
	}

	// Connections made before belong to the first listener, later ones to the second.
	late := dialUnix(t, path)
	for _, tt := range []struct {
		l      *Listener
		client net.Conn
	}{{first, early}, {second, late}} {
		conn, err := tt.l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte("x"))
		conn.Close()
		if got, err := io.ReadAll(tt.client); string(got) != "x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := first.Withdraw(); err != nil || !second.Current() {
		t.Errorf("the first listener has withdrawn the socket of the second: %v", err)
	}
	if after, err := os.Stat(filepath.Dir(path)); err != nil || !os.SameFile(dir, after) {
		t.Errorf("the directory was replaced: %v", err)
	}
	if _, err := TakeOver(filepath.Dir(path)); !errors.Is(err, ErrDirectory) {
		t.Errorf("TakeOver of a directory: %v", err)
	}
}

// A closed listener does not touch the socket that has replaced its own, even if the
// file has the same inode number.
func TestClosedListenerIsNotCurrent(t *testing.T) {
	path := socketPath(t)
	var before []*Listener
	for range 20 {
		l, err := TakeOver(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, closed := range before {
			closed.Close()
			if closed.Current() || closed.Withdraw() != nil {
				t.Error("a closed listener is current")
			}
		}
		if !l.Current() {
			t.Fatal("a running listener is not current")
		}
		l.Close()
		before = append(before, l)
	}
}

func TestWithdraw(t *testing.T) {
	path := socketPath(t)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialUnix(t, path)
	if err := l.Withdraw(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("unix", path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a client after Withdraw: %v", err)
	}
	// After the deadline, connections made before are still accepted.
	l.SetDeadline(time.Unix(1, 0))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Accept without a connection: %v", err)
	}
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
}

// A listener that stands by gets the path when the other one ends. No client is refused.
func TestStandBy(t *testing.T) {
	path := socketPath(t)
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	leaveStale(t, path+standBySuffix) // of a daemon that was killed
	second, err := StandBy(path)
	if err != nil {
		t.Fatal(err)
	}
	if second.Current() || !first.Current() {
		t.Errorf("before: first %v, second %v", first.Current(), second.Current())
	}
	dialing, enough := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	clients.Go(func() {
		for dialing.Err() == nil {
			conn, err := net.Dial("unix", path)
			if errors.Is(err, syscall.EAGAIN) {
				continue // the backlog is full
			}
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		}
	})
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	enough()
	clients.Wait()
	if !second.Current() {
		t.Error("the path was not handed over")
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestStandByEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, path string, l *Listener)
	}{
		{"closed", func(t *testing.T, _ string, l *Listener) {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}},
		{"killed", func(t *testing.T, path string, l *Listener) {
			l.socket.Close()
		}},
		{"replaced by another one", func(t *testing.T, path string, l *Listener) {
			other, err := StandBy(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if !other.isAt(path + standBySuffix) {
				t.Error("it has removed the socket of the other one")
			}
			other.Close()
		}},
		{"a file in its place", func(t *testing.T, path string, l *Listener) {
			l.Close()
			if err := os.WriteFile(path+standBySuffix, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Remove(path + standBySuffix) })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := socketPath(t)
			first, err := Listen(path)
			if err != nil {
				t.Fatal(err)
			}
			second, err := StandBy(path)
			if err != nil {
				t.Fatal(err)
			}
			tt.end(t, path, second)
			dialUnix(t, path)
			if err := first.Close(); err != nil {
				t.Error(err)
			}
			left, _ := os.ReadDir(filepath.Dir(path))
			for _, f := range left {
				if f.Type() == fs.ModeSocket {
					t.Errorf("left behind: %v", f)
				}
			}
		})
	}
	long := filepath.Join(filepath.Dir(socketPath(t)), "x")
	long += strings.Repeat("x", maxSocketPath-len(long))
	if _, err := StandBy(long); !errors.Is(err, ErrPathTooLong) {
		t.Errorf("a path that is too long for the socket beside it: %v", err)
	}
}
