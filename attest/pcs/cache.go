package pcs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// response is a response of a service, in the form in which it is cached.
type response struct {
	URL     string    `json:"url"`
	Body    []byte    `json:"body"`
	Chain   string    `json:"chain,omitempty"` // of the issuer, in PEM
	Fetched time.Time `json:"fetched"`
	Expires time.Time `json:"expires"` // after this it is requested again

	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"lastModified,omitempty"`

	kept bool // it is from the cache
}

// memory is the cache of one process.
type memory struct {
	mu        sync.Mutex
	responses map[string]*response // by URL
}

// cached returns the cached response for a part, or nil.
func (c *Client) cached(p part) *response {
	r := c.newest(p)
	if r == nil {
		return nil
	}
	copied := *r
	copied.kept = true
	return &copied
}

// newest returns the newer response of memory and directory, or nil.
func (c *Client) newest(p part) *response {
	c.memory.mu.Lock()
	r := c.memory.responses[p.url]
	c.memory.mu.Unlock()
	if c.Dir == "" {
		return r
	}
	text, err := os.ReadFile(c.file(p))
	if err != nil {
		return r
	}
	// A file that cannot be read is ignored. One that can is verified with the rest of the
	// collateral, as if it had just been fetched.
	filed := new(response)
	if json.Unmarshal(text, filed) != nil || filed.URL != p.url || r != nil && filed.Fetched.Before(r.Fetched) {
		return r
	}
	return filed
}

// keep caches a verified response. If the directory cannot be written, it is cached in memory
// only.
func (c *Client) keep(p part, r *response) {
	if r.kept {
		return
	}
	c.memory.mu.Lock()
	if c.memory.responses == nil {
		c.memory.responses = make(map[string]*response)
	}
	c.memory.responses[p.url] = r
	c.memory.mu.Unlock()
	if c.Dir != "" {
		_ = c.write(p, r)
	}
}

// write replaces a file of the cache.
func (c *Client) write(p part, r *response) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return replaceFile(c.file(p), text)
}

func (c *Client) file(p part) string {
	name := sha256.Sum256([]byte(p.url))
	return filepath.Join(c.Dir, "pcs-"+hex.EncodeToString(name[:16])+".json")
}
