package aesm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// socketMode is the mode of the socket file.
const socketMode = 0o777

// stage is a directory that only this user can enter. In it, a socket gets its mode
// before it has a name that others can reach: a user who can write to the directory of the
// socket could otherwise put a link to any file in its place.
//
// Everything in it is named by descriptor, since its own name can be given to something
// else as well.
type stage struct {
	parent *os.File // the directory of the socket
	dir    *os.File
	name   string // of dir in parent
}

// staged is the name of the socket in the stage.
const staged = "aesm.socket"

// openStage creates a stage in a directory.
func openStage(dir string) (*stage, error) {
	parent, err := os.OpenFile(dir, unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	s := &stage{parent: parent, name: ".aesm-" + rand.Text()[:10]}
	if err := s.open(); err != nil {
		s.close()
		return nil, fmt.Errorf("create a private directory in %s: %w", dir, err)
	}
	return s, nil
}

func (s *stage) open() error {
	parent := int(s.parent.Fd())
	if err := unix.Mkdirat(parent, s.name, 0o700); err != nil {
		return os.NewSyscallError("mkdir", err)
	}
	fd, err := unix.Openat(parent, s.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	s.dir = os.NewFile(uintptr(fd), s.name)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return os.NewSyscallError("stat", err)
	}
	if int(info.Uid) != os.Geteuid() || info.Mode&0o777 != 0o700 {
		return errors.New("another process has replaced it: let only trusted users write to this directory")
	}
	return nil
}

// path returns a path of the staged socket that leads there whatever has become of the
// stage's name.
func (s *stage) path() string {
	return "/proc/self/fd/" + strconv.Itoa(int(s.dir.Fd())) + "/" + staged
}

// bind creates a listening socket in the stage.
func (s *stage) bind() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: s.path()}); err != nil {
		err = os.NewSyscallError("bind", err)
	} else if err = unix.Listen(fd, backlog); err != nil {
		err = os.NewSyscallError("listen", err)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), staged), nil
}

// publish moves the socket to its final name, in place of another one only if replace
// is true. It returns what identifies the file.
func (s *stage) publish(name string, replace bool) (fs.FileInfo, error) {
	dir := int(s.dir.Fd())
	if err := unix.Fchmodat(dir, staged, socketMode, 0); err != nil {
		return nil, os.NewSyscallError("chmod", err)
	}
	info, err := os.Lstat(s.path())
	if err != nil {
		return nil, err
	}
	var flags uint = unix.RENAME_NOREPLACE
	if replace {
		flags = 0
	}
	err = unix.Renameat2(dir, staged, int(s.parent.Fd()), name, flags)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // of the file system, or of an old kernel
		err = unix.Renameat(dir, staged, int(s.parent.Fd()), name)
	}
	if errors.Is(err, unix.EEXIST) {
		return nil, ErrInUse // since inspect
	}
	return info, os.NewSyscallError("rename", err)
}

// close removes the stage, and the socket if it is still there.
func (s *stage) close() {
	if s.dir != nil {
		_ = unix.Unlinkat(int(s.dir.Fd()), staged, 0) // usually it has moved
		s.dir.Close()
	}
	_ = unix.Unlinkat(int(s.parent.Fd()), s.name, unix.AT_REMOVEDIR) // only an empty directory
	s.parent.Close()
}
