package aesm

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The mode of the socket does not depend on the umask.
func TestListenMode(t *testing.T) {
	path := filepath.Join(filepath.Dir(socketPath(t)), "aesmd", "aesm.socket")
	before := syscall.Umask(0o077)
	l, err := Listen(path)
	syscall.Umask(before)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]fs.FileMode{path: fs.ModeSocket | 0o777, filepath.Dir(path): fs.ModeDir | 0o755} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	if !l.Current() {
		t.Error("the listener is not current")
	}
}

// Until the socket has its mode, others can neither reach it nor put anything else in
// its place: what has become of the name of its directory does not matter.
func TestStage(t *testing.T) {
	dir := filepath.Dir(socketPath(t))
	s, err := openStage(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if info, err := s.dir.Stat(); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	socket, err := s.bind()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()

	// A user who can write to dir moves the stage away, and puts a directory in its place
	// with a link to somebody's file.
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, s.name), filepath.Join(dir, "aside")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, s.name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, s.name, staged)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.publish("aesm.socket", false); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(secret); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has become %v, %v", info.Mode(), err)
	}
	if info, err := os.Lstat(filepath.Join(dir, "aesm.socket")); err != nil || info.Mode() != fs.ModeSocket|0o777 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
}

// A socket that has appeared meanwhile is not replaced.
func TestStageReplacesOnlyOnRequest(t *testing.T) {
	path := socketPath(t)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := openStage(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	socket, err := s.bind()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if _, err := s.publish(filepath.Base(path), false); !errors.Is(err, ErrInUse) || !l.Current() {
		t.Errorf("got %v, want %v", err, ErrInUse)
	}
	if _, err := s.publish(filepath.Base(path), true); err != nil || l.Current() {
		t.Error(err)
	}
}
