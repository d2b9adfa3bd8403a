package certificates

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/internal/cachedir"
)

// The pause after a failure of the provider doubles from minPause to maxPause. With
// the pauses between two starts of a worker and the time that the provider may take,
// it bounds how long quotes take to come back after the service has.
const (
	minPause = time.Second
	maxPause = 8 * time.Second
)

// failure is an error of the provider, and when to ask it again: the content of a file
// of the directory.
type failure struct {
	Code    uint32 // a quote3_error_t, or 0
	Text    string
	Useless bool
	PPID    [sha256.Size]byte // the hash of that with which it was asked: with another one it may know the platform
	Until   time.Time
	Pause   time.Duration // that ends then
}

// maxFailure is larger than the file of a failure, in bytes, in which each byte of the
// text takes up to six.
const (
	maxFailure = 16 << 10
	maxText    = 1 << 10
)

// remembered is the error of a failure.
type remembered struct {
	text string
	code quote3.Error
}

func (e *remembered) Error() string { return e.text }

// Unwrap returns the code, or nil if there is none.
func (e *remembered) Unwrap() error {
	if e.code == 0 {
		return nil
	}
	return e.code
}

// failure returns the error of the provider if it failed a short time ago.
func (c *Cache) failure(id ID, ppid []byte) error {
	f, ok := c.lastFailure(id)
	left := time.Until(f.Until)
	// A failure from the future is one from before the clock was set.
	if !ok || left <= 0 || left > maxPause || f.PPID != sha256.Sum256(ppid) {
		return nil
	}
	return &remembered{f.Text, quote3.Error(f.Code)}
}

// wasUseless reports whether the last answer of the provider was useless.
func (c *Cache) wasUseless(id ID) bool {
	f, _ := c.lastFailure(id)
	return f.Useless
}

// fail remembers that asking the provider has failed. What cannot be written is not
// remembered.
func (c *Cache) fail(id ID, ppid []byte, err error) {
	last, ok := c.lastFailure(id)
	pause := minPause
	if ok && time.Since(last.Until) < 2*maxPause {
		pause = min(2*last.Pause, maxPause)
	}
	code, _ := errors.AsType[quote3.Error](err)
	_, useless := errors.AsType[*UselessError](err)
	text := err.Error()
	text = text[:min(len(text), maxText)]
	f := failure{uint32(code), text, useless || last.Useless, sha256.Sum256(ppid), time.Now().Add(pause), pause}
	if err := c.write(c.failureFile(id), f); err != nil {
		c.Log.Warn("remember the failure of the provider failed", "directory", c.Dir, "error", err)
	}
}

// lastFailure returns the last failure of the provider since its last success. A file
// that cannot be read counts as none.
func (c *Cache) lastFailure(id ID) (f failure, ok bool) {
	dir, err := cachedir.Open(c.Dir)
	if err != nil {
		return failure{}, false
	}
	defer dir.Close()
	text, _, err := dir.Read(c.failureFile(id), maxFailure)
	if err != nil {
		return failure{}, false
	}
	if json.Unmarshal(text, &f) != nil || f.Pause <= 0 || f.Pause > maxPause {
		return failure{}, false
	}
	return f, true
}

// forget forgets the failures of the provider.
func (c *Cache) forget(id ID) {
	if _, ok := c.lastFailure(id); !ok {
		return
	}
	if err := c.write(c.failureFile(id), failure{}); err != nil {
		c.Log.Warn("remember the failure of the provider failed", "directory", c.Dir, "error", err)
	}
}
