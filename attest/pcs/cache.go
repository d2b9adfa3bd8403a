package pcs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/confcom/confcom/internal/cachedir"
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

	kept   bool      // it is from the cache
	failed error     // of the request that it stands in for
	issued time.Time // once it has been verified
}

// responses are the responses for the parts of collateral.
type responses [4]*response

// kept reports whether one of them is from the cache.
func (rs responses) kept() bool {
	for _, r := range rs {
		if r.kept {
			return true
		}
	}
	return false
}

// failure returns the error of a request for which a response from the cache stands in, or nil.
func (rs responses) failure() error {
	for _, r := range rs {
		if r.failed != nil {
			return r.failed
		}
	}
	return nil
}

// fresh returns until when none of them is requested again.
func (rs responses) fresh() time.Time {
	first := rs[0].Expires
	for _, r := range rs {
		if r.Expires.Before(first) {
			first = r.Expires
		}
	}
	return first
}

// knownPart is what a client knows of a part of collateral.
type knownPart struct {
	response *response // verified; nil if there is none
	reported state
}

// known returns what is known of a part. c.mu is held.
func (c *Client) known(p part) *knownPart {
	k := c.parts[p.url]
	if k == nil {
		if len(c.parts) >= maxFamilies*len(responses{}) {
			c.forgetPart()
		}
		k = new(knownPart)
		c.parts[p.url] = k
	}
	return k
}

// forgetPart forgets a part: one without a response if there is one. c.mu is held.
func (c *Client) forgetPart() {
	var least string
	for url, k := range c.parts {
		if least = url; k.response == nil {
			break
		}
	}
	delete(c.parts, least)
}

// load reads the collateral of a family from the directory. If a part is missing or invalid, it
// loads nothing.
func (c *Client) load(k *collateral) {
	var found responses
	for i, p := range k.parts {
		if found[i] = c.cached(p); found[i] == nil {
			return
		}
	}
	bundle, valid, err := c.verify(k.family, found)
	if err != nil {
		return // it is fetched again
	}
	c.mu.Lock()
	if k.bundle == nil || k.valid.Before(valid) {
		k.bundle, k.fresh, k.valid = bundle, found.fresh(), valid
		for i, p := range k.parts {
			c.known(p).response = found[i]
		}
	}
	c.mu.Unlock()
	if time.Now().Before(found.fresh()) {
		for _, p := range k.parts {
			c.report(Step{Part: p.name, URL: p.url, Cached: true})
		}
	}
}

// cached returns the newer response of memory and directory, or nil.
func (c *Client) cached(p part) *response {
	var r response
	c.mu.Lock()
	if known := c.parts[p.url]; known != nil && known.response != nil {
		r = *known.response
	}
	c.mu.Unlock()
	if filed := c.read(p); filed != nil && (r.URL == "" || r.Fetched.Before(filed.Fetched)) {
		r = *filed
	}
	if r.URL == "" {
		return nil
	}
	r.kept, r.failed = true, nil
	return &r
}

// maxFile is larger than the file of any response, whose body is in base64.
const maxFile = 2 * maxBody

// read reads a response from the directory, or returns nil. A file that cannot be read, or is none
// of this user's, is ignored. One that can is verified with the rest of the collateral, as if it
// had just been fetched.
func (c *Client) read(p part) *response {
	if c.Dir == "" {
		return nil
	}
	dir, err := cachedir.Open(c.Dir)
	if err != nil {
		return nil
	}
	defer dir.Close()
	text, _, err := dir.Read(fileName(p), maxFile)
	if err != nil {
		return nil
	}
	r := new(response)
	if json.Unmarshal(text, r) != nil || r.URL != p.url {
		return nil
	}
	r.checkTimes(time.Now())
	return r
}

// checkTimes makes a response old if it is from the future, and makes it expire as early as the
// service can have said.
func (r *response) checkTimes(now time.Time) {
	if r.Fetched.After(now) {
		r.Fetched, r.Expires = time.Time{}, time.Time{}
	}
	if last := r.Fetched.Add(maxLifetime); r.Expires.After(last) {
		r.Expires = last
	}
}

// keep caches verified responses. If the directory cannot be written, they are cached in memory
// only.
func (c *Client) keep(parts [4]part, rs responses) {
	c.mu.Lock()
	for i, p := range parts {
		c.known(p).response = rs[i]
	}
	c.mu.Unlock()
	if c.Dir == "" {
		return
	}
	dir, err := cachedir.Open(c.Dir)
	if err != nil {
		return
	}
	defer dir.Close()
	for i, p := range parts {
		if rs[i].kept {
			continue
		}
		if text, err := json.Marshal(rs[i]); err == nil {
			_ = dir.Write(fileName(p), text)
		}
	}
}

// fileName returns the name of the file of a part.
func fileName(p part) string {
	name := sha256.Sum256([]byte(p.url))
	return "pcs-" + hex.EncodeToString(name[:16]) + ".json"
}
