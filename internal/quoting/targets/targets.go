// Package targets remembers the quoting enclaves that a node has had.
//
// Enclaves make reports for the target info of one quoting enclave, and a report does
// not name it. After the quoting enclave was replaced, a report for the earlier one
// looks like any invalid report. Only a node that knows that it has had another one can
// tell its clients to fetch the target info again.
//
// It remembers them until it boots. A client keeps its target info for as long as it runs,
// and nothing shows when the last one that has an earlier target ends: no shorter time is
// right. No client outlives a boot.
package targets

import (
	"context"
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

// A file has a line with the ID of the boot, and one for each target: its 512 bytes in
// hexadecimal, of which the first 32 are the MRENCLAVE.
const (
	lineSize = 2*sgx.TargetInfoSize + 1
	bootSize = 36 + 1 // a UUID
	fileSize = bootSize + most*lineSize
)

// bootFile has the ID of this boot, which Linux chooses at random.
const bootFile = "/proc/sys/kernel/random/boot_id"

// Memory is the targets that a node has had. With a file, processes that use the same
// one share them. The zero Memory has no file. It is safe for concurrent use.
type Memory struct {
	path string
	boot string // the first line of the file
	log  *slog.Logger

	storing sync.Mutex // one goroutine writes the file

	mu      sync.Mutex
	known   []sgx.TargetInfo // the newest last
	learned time.Time        // when Learn was called last
	problem string           // with the file, as it was logged
	asked   time.Time        // when Ask called ask last
	asking  chan struct{}    // closed when ask returns; nil if nobody asks
}

// Open returns a memory that keeps the targets in the file at path, and has those that
// the file has, if it was written since the machine has booted.
//
// A file that cannot be read or written is logged, and does no other harm: targets that
// are not known are those of invalid reports.
func Open(path string, log *slog.Logger) *Memory {
	m := &Memory{log: log}
	boot, err := os.ReadFile(bootFile)
	if err == nil && len(boot) != bootSize {
		err = fmt.Errorf("%s has %d bytes, want %d", bootFile, len(boot), bootSize)
	}
	if err != nil {
		m.report("read ID of the boot failed", err)
		return m
	}
	m.path, m.boot = path, string(boot)
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

// Ask calls ask, which finds out and learns the target that the quoting enclave has now,
// unless one was learned, or asked for, less than interval ago. Of several calls at a time,
// one asks and the others wait for it, until ctx is done.
func (m *Memory) Ask(ctx context.Context, interval time.Duration, ask func()) {
	m.mu.Lock()
	if running := m.asking; running != nil {
		m.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
		}
		return
	}
	now := time.Now()
	if now.Sub(m.learned) < interval || now.Sub(m.asked) < interval {
		m.mu.Unlock()
		return
	}
	done := make(chan struct{})
	m.asked, m.asking = now, done
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.asking = nil
		m.mu.Unlock()
		close(done)
	}()
	ask()
}

// Reload adds the targets that another process has written to the file.
func (m *Memory) Reload() {
	if m.path == "" {
		return
	}
	known, err := read(m.path, m.boot)
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
	if err := write(m.path, m.boot, known); err != nil {
		m.report("store quoting enclave failed", err)
	}
}

// write replaces a file.
func write(path, boot string, targets []sgx.TargetInfo) error {
	// WriteFile would keep the permissions of the file that it replaces.
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer file.Cleanup()
	if _, err := io.WriteString(file, boot); err != nil {
		return err
	}
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
// process's user, can write. One of an earlier boot has no targets.
func read(path, boot string) ([]sgx.TargetInfo, error) {
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
	return parse(text, boot)
}

func parse(text []byte, boot string) ([]sgx.TargetInfo, error) {
	if len(text) > fileSize || len(text) < bootSize || (len(text)-bootSize)%lineSize != 0 {
		return nil, fmt.Errorf("not the ID of a boot and up to %d lines of %d hexadecimal digits", most, lineSize-1)
	}
	if string(text[:bootSize]) != boot {
		return nil, nil
	}
	text = text[bootSize:]
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
