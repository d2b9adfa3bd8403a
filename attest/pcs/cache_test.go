package pcs

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// newDir returns a directory that only this user can write to.
func newDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// An expired response is requested again, conditionally. A response in a directory serves the next
// process. If the service fails, a response that is still valid is used.
func TestCache(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		s.header.Set("ETag", `"1"`)
		client := s.client(t, pccs)
		client.Dir = newDir(t)
		fetch := func(c *Client) error {
			t.Helper()
			_, err := c.Refresh(t.Context(), family)
			return err
		}
		if err := fetch(client); err != nil {
			t.Fatal(err)
		}
		s.take()

		time.Sleep(2 * time.Hour)
		var conditional atomic.Int32
		s.first(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("If-None-Match") == `"1"` {
				conditional.Add(1)
				w.Header().Set("Cache-Control", "max-age=3600")
				w.WriteHeader(http.StatusNotModified)
				return true
			}
			return false
		})
		if err := fetch(client); err != nil || conditional.Load() != 4 {
			t.Errorf("%d of 4 requests were conditional, %v", conditional.Load(), err)
		}
		s.take()

		other := s.client(t, pccs)
		other.Dir = client.Dir
		if err := fetch(other); err != nil || len(s.take()) > 0 {
			t.Errorf("another process: %v", err)
		}

		// Damaged files are ignored.
		third := s.client(t, pccs)
		third.Dir = newDir(t)
		files, err := filepath.Glob(filepath.Join(client.Dir, "pcs-*.json"))
		if err != nil || len(files) != 4 {
			t.Fatalf("%q, %v", files, err)
		}
		for _, file := range files {
			var r response
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatal(err)
			}
			r.Body[len(r.Body)/2] ^= 1
			r.Expires = issued.AddDate(1, 0, 0)
			if text, err = json.Marshal(r); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(third.Dir, filepath.Base(file)), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s.first(nil)
		s.take()
		if err := fetch(third); err != nil || len(s.take()) != 4 {
			t.Errorf("damaged files: %v", err)
		}

		time.Sleep(2 * time.Hour)
		s.first(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true })
		if err := fetch(client); err != nil {
			t.Errorf("the service fails, and the cached collateral is valid: %v", err)
		}
		time.Sleep(60 * 24 * time.Hour)
		if err := fetch(client); err == nil {
			t.Error("accepted expired collateral")
		}
	})
}
