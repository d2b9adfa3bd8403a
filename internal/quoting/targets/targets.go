// Package targets remembers the quoting enclaves that a node has had.
//
// Enclaves make reports for the target info of one quoting enclave, and a report does
// not name it. After the quoting enclave was replaced, a report for the earlier one
// looks like any invalid report. Only a node that knows that it has had another one can
// tell its clients to fetch the target info again.
package targets

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/confcom/confcom/sgx"
)

// most is how many targets are remembered: the last ones.
const most = 8

// A file has a line for each target: its 512 bytes in hexadecimal, of which the first
// 32 are the MRENCLAVE.
const (
	lineSize = 2*sgx.TargetInfoSize + 1
	fileSize = most * lineSize
)

// Memory is the targets that a node has had. With a file, processes that use the same
// one share them. The zero Memory has no file. It is safe for concurrent use.
type Memory struct {
	path string
	log  *slog.Logger

	storing sync.Mutex // one goroutine writes the file

	mu      sync.Mutex
	known   []sgx.TargetInfo // the newest last
	learned time.Time        // when Learn was called last
	problem string           // with the file, as it was logged
}

// Open returns a memory that keeps the targets in the file at path, and has those that
// the file has.
//
// A file that cannot be read or written is logged, and does no other harm: targets that
// are not known are those of invalid reports.
func Open(path string, log *slog.Logger) *Memory {
	m := &Memory{path: path, log: log}
	m.Reload()
	return m
}

// Learn notes that the quoting enclave has this target now.
func (m *Memory) Learn(target sgx.TargetInfo) {
	if m.add(target) {
		m.store()
	}
}

// add adds a target, and reports whether it is new.
func (m *Memory) add(target sgx.TargetInfo) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.learned = time.Now()
	if slices.Contains(m.known, target) {
		return false
	}
	m.merge([]sgx.TargetInfo{target})
	return true
}

// Replaced reports whether the node has had several targets.
func (m *Memory) Replaced() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.known) > 1
}

// Age returns how long ago Learn was called.
func (m *Memory) Age() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.learned)
}

// Reload adds the targets that another process has written to the file.
func (m *Memory) Reload() {
	if m.path == "" {
		return
	}
	known, err := read(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		m.report("read earlier quoting enclaves failed", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	newer := m.known
	m.known = nil
	m.merge(known)
	m.merge(newer)
}

// merge adds the targets that are not known, as the newest. m.mu is locked.
func (m *Memory) merge(targets []sgx.TargetInfo) {
	for _, t := range targets {
		if !slices.Contains(m.known, t) {
			m.known = append(m.known, t)
		}
	}
	m.known = slices.Clone(m.known[max(len(m.known)-most, 0):])
}

// store writes the file, atomically. Nothing else waits for it.
func (m *Memory) store() {
	if m.path == "" {
		return
	}
	m.storing.Lock()
	defer m.storing.Unlock()
	m.Reload() // another process may have written it
	m.mu.Lock()
	known := m.known
	m.mu.Unlock()
	if err := write(m.path, known); err != nil {
		m.report("store quoting enclave failed", err)
	}
}

// write replaces a file.
func write(path string, targets []sgx.TargetInfo) error {
	// WriteFile would keep the permissions of the file that it replaces.
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer file.Cleanup()
	for _, t := range targets {
		binary, _ := t.MarshalBinary() // never fails
		if _, err := fmt.Fprintf(file, "%x\n", binary); err != nil {
			return err
		}
	}
	return file.CloseAtomicallyReplace()
}

// report logs a problem with the file once.
func (m *Memory) report(message string, err error) {
	m.mu.Lock()
	again := m.problem == err.Error()
	m.problem = err.Error()
	m.mu.Unlock()
	if !again {
		m.log.Warn(message, "file", m.path, "error", err,
			"advice", "after a restart, reports for an earlier quoting enclave are answered INVALID_REPORT, which applications take as final")
	}
}

// read reads a file. It must be a regular file that only its owner, who is this
// process's user, can write.
func read(path string) ([]sgx.TargetInfo, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	switch {
	case stat.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, errors.New("not a regular file")
	case int(stat.Uid) != os.Geteuid():
		return nil, fmt.Errorf("the file belongs to user %d", stat.Uid)
	case stat.Mode&0o022 != 0:
		return nil, fmt.Errorf("other users may write the file: mode %04o", stat.Mode&0o7777)
	}
	text, err := io.ReadAll(io.LimitReader(file, fileSize+1))
	if err != nil {
		return nil, err
	}
	return parse(text)
}

func parse(text []byte) ([]sgx.TargetInfo, error) {
	if len(text) > fileSize || len(text)%lineSize != 0 {
		return nil, fmt.Errorf("not up to %d lines of %d hexadecimal digits", most, lineSize-1)
	}
	var targets []sgx.TargetInfo
	for line := range slices.Chunk(text, lineSize) {
		binary, err := hex.DecodeString(string(line[:lineSize-1]))
		if err != nil || line[lineSize-1] != '\n' {
			return nil, fmt.Errorf("line %d: not %d hexadecimal digits", len(targets)+1, lineSize-1)
		}
		var t sgx.TargetInfo
		if err := t.UnmarshalBinary(binary); err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}
