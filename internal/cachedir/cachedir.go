// Package cachedir reads and writes the files of a directory that belongs to this user alone.
//
// What is cached is read again later, perhaps by a process with more rights than the user who
// could write to the directory. So neither the directory nor a file is used if another user
// could have put it there or can change it, nor anything but a regular file: a FIFO would block
// its reader, and a link leads elsewhere. The size of a file is bounded before it is read.
//
// It is below all other packages and imports the standard library only.
package cachedir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
)

// Dir is an open directory. Files are opened relative to it, whatever its path leads to by
// now.
type Dir struct {
	path string
	root *os.Root
}

// Open opens a directory. It returns an error if the path is a link, or if the directory
// belongs to another user than this one and root, or can be written by others.
func Open(path string) (*Dir, error) {
	// os.OpenRoot follows a link, so the path must not be one.
	named, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("open cache directory: %w", err)
	}
	if !named.IsDir() {
		return nil, fmt.Errorf("open cache directory: %s is a %s, not a directory", path, kind(named.Mode()))
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open cache directory: %w", err)
	}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(named, opened) {
		err = fmt.Errorf("%s has changed meanwhile", path)
	}
	if err == nil {
		err = checkOwn(path, opened)
	}
	if err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("open cache directory: %w", err)
	}
	return &Dir{path, root}, nil
}

// Make creates a directory, and its parents, that only this user can read, unless it exists,
// and checks it as Open does.
func Make(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	dir, err := Open(path)
	if err != nil {
		return err
	}
	return dir.Close()
}

// Close closes the directory. Files that were opened stay open.
func (d *Dir) Close() error { return d.root.Close() }

// Read returns the content of a file, which must not be larger than limit, and a description
// of it. If the file does not exist, the error wraps fs.ErrNotExist.
func (d *Dir) Read(name string, limit int64) ([]byte, fs.FileInfo, error) {
	file, info, err := d.open(name, os.O_RDONLY)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	if info.Size() > limit {
		return nil, nil, fmt.Errorf("%s has %d bytes, want at most %d", d.name(name), info.Size(), limit)
	}
	data, err := io.ReadAll(io.LimitReader(file, limit+1)) // it may be growing
	if err != nil {
		return nil, nil, err
	}
	if int64(len(data)) > limit {
		return nil, nil, fmt.Errorf("%s has more than %d bytes", d.name(name), limit)
	}
	return data, info, nil
}

// Write replaces a file atomically.
func (d *Dir) Write(name string, data []byte) error {
	temporary := "." + name + "-" + strconv.FormatUint(rand.Uint64(), 36)
	file, err := d.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = d.root.Rename(temporary, name)
	}
	if err != nil {
		_ = d.root.Remove(temporary) // it may be gone
	}
	return err
}

// Lockfile opens a file that processes lock, and creates it if it does not exist.
func (d *Dir) Lockfile(name string) (*os.File, error) {
	file, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		file, _, err = d.open(name, os.O_RDWR)
	}
	return file, err
}

// open opens a file that exists. It opens nothing but regular files, and waits for nothing.
func (d *Dir) open(name string, flag int) (*os.File, fs.FileInfo, error) {
	named, err := d.root.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !named.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is a %s, not a regular file", d.name(name), kind(named.Mode()))
	}
	file, err := d.root.OpenFile(name, flag|nonblock, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !os.SameFile(named, info) {
		err = fmt.Errorf("%s was replaced meanwhile", d.name(name))
	}
	if err == nil {
		err = checkOwn(d.name(name), info)
	}
	if err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

func (d *Dir) name(name string) string { return d.path + string(os.PathSeparator) + name }

// kind returns the kind of a file for people.
func kind(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "FIFO"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}
