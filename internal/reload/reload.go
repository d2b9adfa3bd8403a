// Package reload keeps a value that is read from files, and reads it again when they
// change. A change that cannot be used leaves the last good value in force.
package reload

import (
	"context"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// interval is the time between two checks for a change.
	interval = time.Second
	// retryInterval is the time after which a version that could not be used is read again,
	// although it has not changed: reading may have failed, or it may not have been valid yet.
	retryInterval = 10 * time.Second
)

// Value is a value from files.
type Value[T any] struct {
	paths []string
	read  func() (T, error)
	value atomic.Pointer[T]

	// Watch uses these alone.
	seen   []fs.FileInfo // of the files that were read last; nil if one of them is missing
	tried  time.Time     // when they were read
	failed string        // the error that was reported last; empty if the last change was good
}

// Read reads a value with a function that reads the files at these paths.
func Read[T any](read func() (T, error), paths ...string) (*Value[T], error) {
	v := &Value[T]{paths: paths, read: read}
	return v, v.reload()
}

// Get returns the value in force.
func (v *Value[T]) Get() T { return *v.value.Load() }

// Watch reads the value again whenever the files have changed, until ctx is done. It then
// calls changed with nil, or with the error for which the former value stays in force. An
// error that lasts is reported once.
func (v *Value[T]) Watch(ctx context.Context, changed func(error)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if seen, err := v.stat(); err == nil && slices.EqualFunc(seen, v.seen, same) &&
			(v.failed == "" || time.Since(v.tried) < retryInterval) {
			continue
		}
		err := v.reload()
		text := ""
		if err != nil {
			text = err.Error()
		}
		if err == nil || text != v.failed {
			changed(err)
		}
		v.failed = text
	}
}

func (v *Value[T]) reload() (err error) {
	v.tried = time.Now()
	// What is read may be newer than this. Then the next check finds another change.
	if v.seen, err = v.stat(); err != nil {
		return err
	}
	value, err := v.read()
	if err == nil {
		v.value.Store(&value)
	}
	return err
}

func (v *Value[T]) stat() ([]fs.FileInfo, error) {
	var infos []fs.FileInfo
	for _, path := range v.paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
