package pcs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// answer is what a service has answered, as it is kept.
type answer struct {
	URL     string    `json:"url"`
	Body    []byte    `json:"body"`
	Chain   string    `json:"chain,omitempty"` // of the issuer, in PEM
	Fetched time.Time `json:"fetched"`
	Expires time.Time `json:"expires"` // then it is to be asked again

	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"lastModified,omitempty"`

	kept bool // it was here already
}

// memory is what one process keeps.
type memory struct {
	mu      sync.Mutex
	answers map[string]*answer // by URL
}

// kept returns what is kept of a part, or nil.
func (c *Client) kept(p part) *answer {
	a := c.newest(p)
	if a == nil {
		return nil
	}
	copied := *a
	copied.kept = true
	return &copied
}

func (c *Client) newest(p part) *answer {
	c.memory.mu.Lock()
	a := c.memory.answers[p.url]
	c.memory.mu.Unlock()
	if c.Dir == "" {
		return a
	}
	text, err := os.ReadFile(c.file(p))
	if err != nil {
		return a
	}
	// What cannot be read is as good as not there. What can is checked with all the
	// rest of the collateral, as if it had just come.
	filed := new(answer)
	if json.Unmarshal(text, filed) != nil || filed.URL != p.url || a != nil && filed.Fetched.Before(a.Fetched) {
		return a
	}
	return filed
}

// keep keeps an answer that was checked. A directory that cannot be written to is no
// reason to do without the answer.
func (c *Client) keep(p part, a *answer) {
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	if c.memory.answers == nil {
		c.memory.answers = make(map[string]*answer)
	}
	if a.kept {
		return
	}
	c.memory.answers[p.url] = a
	if c.Dir != "" {
		_ = c.write(p, a)
	}
}

// write writes a file so that a reader sees all of it or the one before.
func (c *Client) write(p part, a *answer) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(c.Dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(text)
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), c.file(p))
}

func (c *Client) file(p part) string {
	name := sha256.Sum256([]byte(p.url))
	return filepath.Join(c.Dir, "pcs-"+hex.EncodeToString(name[:16])+".json")
}
