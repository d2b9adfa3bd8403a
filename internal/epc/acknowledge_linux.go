package epc

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Acknowledgement tells the device plugin that what its file says has been done. It is a
// shared lock of the file: that needs no permission to write, ends with the process that
// has it, and is no lock of the file that replaces this one.
type Acknowledgement struct{ file *os.File }

// Acknowledge acknowledges an advertisement, which must be that of the file in the directory.
func Acknowledge(dir string, a Advertisement) (*Acknowledgement, error) {
	file, now, err := openAdvertisement(dir)
	if err != nil {
		return nil, err
	}
	if !now.Equal(a) {
		err = errors.New("it has been replaced")
	} else {
		err = lock(file, syscall.LOCK_SH)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("acknowledge advertisement: %w", err)
	}
	return &Acknowledgement{file}, nil
}

// Release takes the acknowledgement back.
func (a *Acknowledgement) Release() error { return a.file.Close() }

// Acknowledged reports whether somebody has acknowledged the advertisement in the directory.
func Acknowledged(dir string) (bool, error) {
	file, _, err := openAdvertisement(dir)
	if err != nil {
		return false, err
	}
	defer file.Close() // and with it the lock
	err = lock(file, syscall.LOCK_EX)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// lock locks a file, and fails if it would have to wait.
func lock(file *os.File, kind int) error {
	for {
		err := syscall.Flock(int(file.Fd()), kind|syscall.LOCK_NB)
		if err == nil || !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("flock", err)
		}
	}
}
