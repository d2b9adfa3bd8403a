//go:build unix

package pcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// steps records what Progress is called with.
type steps struct {
	mu    sync.Mutex
	lines []string
}

func (s *steps) add(step Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what := "fetched"
	switch {
	case step.Err != nil && step.Cached:
		what = "failed, cached"
	case step.Err != nil:
		what = "failed"
	case step.Cached:
		what = "cached"
	}
	s.lines = append(s.lines, step.Part+": "+what)
}

func (s *steps) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := s.lines
	s.lines = nil
	slices.Sort(lines)
	return lines
}

func status(code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true }
}

// A failure is remembered: 2,010 calls in 5 seconds make one attempt, and one line of a log.
// Afterwards it is tried again less and less often, and a service that is back is noticed.
func TestFailureRemembered(t *testing.T) {
	for _, c := range []struct {
		name     string
		before   func(http.ResponseWriter, *http.Request) bool
		requests int // at most, in 5 seconds
		want     string
	}{
		{"404", status(404), 4, "status 404"},
		{"500", status(500), 12, "status 500"},
		{"hangs", func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }, 4, "deadline"},
		{"forged", func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("SGX-Enclave-Identity-Issuer-Chain", "x")
			if strings.HasSuffix(r.URL.Path, "/qe/identity") {
				fmt.Fprint(w, `{"enclaveIdentity":{},"signature":"`+strings.Repeat("00", 64)+`"}`)
				return true
			}
			return false
		}, 4, "QE identity"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newService(t)
				s.first(c.before)
				client := s.client(t, pccs)
				var progress steps
				client.Progress = progress.add
				var calls sync.WaitGroup
				for range 2010 {
					calls.Go(func() {
						if _, err := client.Collateral(t.Context(), family); err == nil || !strings.Contains(err.Error(), c.want) {
							t.Errorf("%v; want %q", err, c.want)
						}
					})
					time.Sleep(5 * time.Second / 2010)
				}
				if n := len(s.take()); n == 0 || n > c.requests {
					t.Errorf("%d requests, want at most %d", n, c.requests)
				}
				calls.Wait()
				if _, err := client.Collateral(t.Context(), family); err == nil || !strings.Contains(err.Error(), "not asked again for") {
					t.Errorf("%v", err)
				}
				if lines := progress.take(); len(lines) > 4 {
					t.Errorf("reported %q", lines)
				}
				s.take()
				for range 3600 {
					time.Sleep(time.Second)
					client.Collateral(t.Context(), family)
				}
				if n := len(s.take()); n < 8 || n > 20*12 {
					t.Errorf("%d requests in an hour", n)
				}
				s.first(nil)
				time.Sleep(maxBackoff * 6 / 5)
				if _, err := client.Collateral(t.Context(), family); err != nil {
					t.Errorf("the service is back: %v", err)
				}
			})
		})
	}
}

// Collateral in the cache that is valid is used at once, whatever the service does, and refreshed in
// the background. This is so in memory and from a directory.
func TestStaleWhileRevalidate(t *testing.T) {
	for name, before := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"hangs":   func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true },
		"404":     status(404),
		"500":     status(500),
		"garbage": func(w http.ResponseWriter, _ *http.Request) bool { w.Write([]byte("x")); return true },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newService(t)
				first := s.client(t, pccs)
				first.Dir = newDir(t)
				if _, err := first.Collateral(t.Context(), family); err != nil {
					t.Fatal(err)
				}
				s.take()
				other := s.client(t, pccs)
				other.Dir = first.Dir
				time.Sleep(2 * time.Hour)
				s.first(before)
				for _, client := range []*Client{first, other} {
					var progress steps
					client.Progress = progress.add
					start := time.Now()
					for range 1000 {
						if _, err := client.Collateral(t.Context(), family); err != nil {
							t.Fatal(err)
						}
					}
					if took := time.Since(start); took > 0 {
						t.Errorf("waited %s", took)
					}
					time.Sleep(11 * time.Second)
					if n := len(s.take()); n == 0 || n > 4 {
						t.Errorf("%d requests", n)
					}
					if lines := progress.take(); len(lines) == 0 || len(lines) > 4 {
						t.Errorf("reported %q", lines)
					}
				}
				s.first(nil)
				time.Sleep(maxBackoff * 6 / 5)
				var before, after *Bundle
				var err error
				if before, err = first.Collateral(t.Context(), family); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // for the refresh
				if after, err = first.Collateral(t.Context(), family); err != nil || !after.Fetched.After(before.Fetched) {
					t.Errorf("not refreshed: fetched %s, then %s, %v", before.Fetched, after.Fetched, err)
				}
				if n := len(s.take()); n != 4 {
					t.Errorf("%d requests, want 4", n)
				}
			})
		})
	}
}

// Cached does not wait for the service, and makes no request for collateral that is not in the cache.
func TestCached(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		client := s.client(t, pccs)
		if client.Cached(family) != nil || len(s.take()) > 0 {
			t.Error("cached, or requested, before the first fetch")
		}
		fetched, err := client.Collateral(t.Context(), family)
		if err != nil {
			t.Fatal(err)
		}
		s.take()
		for _, c := range []struct {
			what     string
			after    time.Duration
			requests int
		}{{"fresh", 0, 0}, {"old", 2 * time.Hour, 4}, {"refreshed", time.Second, 0}} {
			time.Sleep(c.after)
			if b := client.Cached(family); b == nil || b.TCBInfo != fetched.TCBInfo {
				t.Errorf("%s: %v", c.what, b)
			}
			synctest.Wait()
			if n := len(s.take()); n != c.requests {
				t.Errorf("%s: %d requests, want %d", c.what, n, c.requests)
			}
		}
		time.Sleep(60 * 24 * time.Hour)
		if client.Cached(family) != nil {
			t.Error("cached after it has expired")
		}
	})
}

// Cached reads the directory, which another process may have written; InMemory does not.
func TestCachedInDirectory(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		client, other := s.client(t, pccs), s.client(t, pccs)
		client.Dir = newDir(t)
		other.Dir = client.Dir
		if client.Cached(family) != nil {
			t.Error("cached before anybody has fetched it")
		}
		if _, err := other.Collateral(t.Context(), family); err != nil {
			t.Fatal(err)
		}
		s.take()
		if client.InMemory(family) != nil {
			t.Error("in memory before the directory was read")
		}
		if client.Cached(family) == nil || client.InMemory(family) == nil {
			t.Error("not cached")
		}
		if n := len(s.take()); n > 0 {
			t.Errorf("%d requests", n)
		}
	})
}

// Requests for families that do not exist push out neither collateral nor failures that are
// remembered, and those that InMemory and Cached look up leave nothing behind.
func TestInventedFamilies(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		client := s.client(t, pccs)
		client.Dir = newDir(t)
		if _, err := client.Collateral(t.Context(), family); err != nil {
			t.Fatal(err)
		}
		s.first(func(w http.ResponseWriter, r *http.Request) bool {
			if fmspc := r.FormValue("fmspc"); fmspc != "" && fmspc != family.FMSPC {
				w.WriteHeader(404)
				return true
			}
			return false
		})
		refused := Family{FMSPC: "00906ED50000", CA: ProcessorCA}
		check := func(when string) {
			t.Helper()
			s.take()
			if _, err := client.Collateral(t.Context(), family); err != nil {
				t.Errorf("%s: %v", when, err)
			}
			if _, err := client.Collateral(t.Context(), refused); err == nil || !strings.Contains(err.Error(), "not asked again") {
				t.Errorf("%s, a family that was refused: %v", when, err)
			}
			if n := len(s.take()); n > 0 {
				t.Errorf("%s: %d requests", when, n)
			}
		}
		if _, err := client.Collateral(t.Context(), refused); err == nil {
			t.Fatal("collateral of an unknown family")
		}
		check("before")
		client.mu.Lock()
		families, parts := len(client.families), len(client.parts)
		client.mu.Unlock()
		for i := range 5 * maxFamilies {
			for _, look := range []func(Family) *Bundle{client.InMemory, client.Cached} {
				if look(Family{FMSPC: fmt.Sprintf("%012X", i), CA: ProcessorCA}) != nil {
					t.Error("collateral of an unknown family")
				}
			}
		}
		client.mu.Lock()
		if len(client.families) != families || len(client.parts) != parts {
			t.Errorf("%d families and %d parts, before %d and %d", len(client.families), len(client.parts), families, parts)
		}
		client.mu.Unlock()
		check("looked up")
		time.Sleep(firstBackoff / 2)
		for i := range 5 * maxFamilies {
			if _, err := client.Collateral(t.Context(), Family{FMSPC: fmt.Sprintf("%012X", i), CA: ProcessorCA}); err == nil {
				t.Error("collateral of an unknown family")
			}
		}
		check("asked for")
	})
}

// The number of failures that are remembered is bounded. The one that would be tried again first
// is forgotten first.
func TestFailuresAreBounded(t *testing.T) {
	fs := make(failures[int])
	now := issued
	for i := range maxFailures + 10 {
		fs.note(i, errors.New("failed"), now.Add(time.Duration(i)*time.Minute))
	}
	if len(fs) != maxFailures || fs[9] != nil || fs[10] == nil {
		t.Errorf("%d failures", len(fs))
	}
}

// A program that runs once gets the newest collateral, and waits for a service that does not answer
// once only.
func TestRefreshWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		client := s.client(t, pccs)
		b, err := client.Refresh(t.Context(), family)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		again, err := client.Refresh(t.Context(), family)
		if err != nil || !again.Fetched.After(b.Fetched) {
			t.Errorf("fetched %s, then %s, %v", b.Fetched, again.Fetched, err)
		}
		time.Sleep(2 * time.Hour)
		s.first(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
		start := time.Now()
		if _, err := client.Refresh(t.Context(), family); err != nil || time.Since(start) > 11*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

// Close ends a fetch and waits for it; what is in the cache can still be used.
func TestClose(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		client := s.client(t, pccs)
		if _, err := client.Collateral(t.Context(), family); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		var ended atomic.Int32
		s.first(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); ended.Add(1); return true })
		if _, err := client.Collateral(t.Context(), family); err != nil {
			t.Error(err)
		}
		synctest.Wait() // until the service has the requests
		start := time.Now()
		client.Close()
		client.Close()
		synctest.Wait()
		if took := time.Since(start); took > 0 || ended.Load() != 4 {
			t.Errorf("after %s, %d requests have ended", took, ended.Load())
		}
		if _, err := client.Collateral(t.Context(), family); err != nil {
			t.Error(err)
		}
		if _, err := client.Collateral(t.Context(), Family{FMSPC: "00906ED50000", CA: ProcessorCA}); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("another family: %v", err)
		}
		new(Client).Close()
	})
}

// What is remembered is bounded, whatever is asked for. A failure for one family is none for
// others.
func TestManyFamilies(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		s.first(func(w http.ResponseWriter, r *http.Request) bool {
			if fmspc := r.FormValue("fmspc"); fmspc != "" && fmspc != family.FMSPC {
				w.WriteHeader(404)
				return true
			}
			return false
		})
		client := s.client(t, pccs)
		if _, err := client.Collateral(t.Context(), family); err != nil {
			t.Fatal(err)
		}
		for i := range 5 * maxFamilies {
			if _, err := client.Collateral(t.Context(), Family{FMSPC: fmt.Sprintf("%012X", i), CA: ProcessorCA}); err == nil {
				t.Error("collateral of an unknown family")
			}
		}
		s.take()
		if _, err := client.Collateral(t.Context(), family); err != nil || len(s.take()) > 0 {
			t.Errorf("the known family was forgotten: %v", err)
		}
		client.mu.Lock()
		defer client.mu.Unlock()
		if len(client.families) > maxFamilies || len(client.parts) > 4*maxFamilies {
			t.Errorf("remembers %d families and %d parts", len(client.families), len(client.parts))
		}
	})
}

// A part that all families share and that cannot be fetched is taken from the cache, also for a
// family that is not known yet.
func TestSharedPart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		client := s.client(t, pccs)
		if _, err := client.Collateral(t.Context(), family); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		s.first(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/rootcacrl") {
				w.WriteHeader(500)
				return true
			}
			return false
		})
		if _, err := client.Refresh(t.Context(), family); err != nil {
			t.Fatal(err)
		}
		_, _, tcbInfo, _ := client.Service.parts(family, client.Update)
		client.mu.Lock()
		delete(client.families, family)
		delete(client.parts, tcbInfo.url)
		client.mu.Unlock()
		s.take()
		if _, err := client.Collateral(t.Context(), family); err != nil {
			t.Error(err)
		}
		if requests := s.take(); len(requests) != 1 || !strings.Contains(requests[0], "/tcb?") {
			t.Errorf("requests %q", requests)
		}
	})
}

// A few families are fetched at a time. One whose collateral is known does not wait for them.
func TestHangingFamilies(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		client := s.client(t, pccs)
		if _, err := client.Collateral(t.Context(), family); err != nil {
			t.Fatal(err)
		}
		s.take()
		time.Sleep(2 * time.Hour)
		s.first(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
		ctx, cancel := context.WithCancel(t.Context())
		var calls sync.WaitGroup
		for i := range maxFamilies - 1 {
			calls.Go(func() {
				if _, err := client.Collateral(ctx, Family{FMSPC: fmt.Sprintf("%012X", i), CA: ProcessorCA}); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		for range 100 {
			if _, err := client.Collateral(t.Context(), family); err != nil || time.Since(start) > 0 {
				t.Fatalf("after %s: %v", time.Since(start), err)
			}
		}
		synctest.Wait()
		if _, err := client.Collateral(t.Context(), Family{FMSPC: "FFFFFFFFFFFF", CA: ProcessorCA}); err == nil || !strings.Contains(err.Error(), "families are being fetched already") {
			t.Errorf("one too many: %v", err)
		}
		if n := len(s.take()); n > 4*maxFetches {
			t.Errorf("%d requests at a time", n)
		}
		cancel()
		calls.Wait()
	})
}

// A service that forbids caching is not asked for each call.
func TestNoStore(t *testing.T) {
	for _, control := range []string{"no-store", "no-cache", "max-age=0"} {
		inBubble(t, func(t *testing.T) {
			s := newService(t)
			s.header.Set("Cache-Control", control)
			client := s.client(t, pccs)
			for range 500 {
				if _, err := client.Collateral(t.Context(), family); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Millisecond)
			}
			if n := len(s.take()); n != 4 {
				t.Errorf("%s: %d requests, want 4", control, n)
			}
		})
	}
}

// Redirects to other hosts, or from TLS to plain text, are not followed, whatever the caller's
// client does.
func TestRedirects(t *testing.T) {
	for _, c := range []struct {
		location string
		follows  bool
	}{
		{"http://169.254.169.254/latest/meta-data", false},
		{"http://pccs.example:8080/", false},
		{"//other.example" + basePath + "rootcacrl", false},
		{"ftp://pccs.example/", false},
		{"", true}, // to the same host
	} {
		inBubble(t, func(t *testing.T) {
			s := newService(t)
			var hosts sync.Map
			s.first(func(w http.ResponseWriter, r *http.Request) bool {
				hosts.Store(r.Host, true)
				if r.URL.Query().Has("redirected") {
					return false
				}
				location := c.location
				if location == "" {
					location = r.URL.RequestURI() + "?redirected"
					if r.URL.RawQuery != "" {
						location = r.URL.RequestURI() + "&redirected"
					}
				}
				http.Redirect(w, r, location, http.StatusFound)
				return true
			})
			client := s.client(t, pccs)
			given := client.HTTP
			given.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
			_, err := client.Collateral(t.Context(), family)
			if c.follows != (err == nil) || err != nil && !errors.Is(err, errRedirect) && !strings.Contains(err.Error(), "unsupported protocol") {
				t.Errorf("%s: %v", c.location, err)
			}
			hosts.Range(func(host, _ any) bool {
				if host != "pccs.example" {
					t.Errorf("%s: sent a request to %s", c.location, host)
				}
				return true
			})
			if err := given.CheckRedirect(nil, nil); err != nil {
				t.Errorf("the caller's client has changed: %v", err)
			}
		})
	}
	check := func(from, to string) error {
		client, own := newHTTPClient(nil)
		defer own.CloseIdleConnections()
		a, _ := http.NewRequest(http.MethodGet, from, nil)
		b, _ := http.NewRequest(http.MethodGet, to, nil)
		return client.CheckRedirect(b, []*http.Request{a})
	}
	if err := check("https://pccs.example/", "http://pccs.example/"); !errors.Is(err, errRedirect) {
		t.Errorf("to plain text: %v", err)
	}
	if err := check("http://pccs.example/", "https://pccs.example/"); err != nil {
		t.Errorf("to TLS: %v", err)
	}
}

// Files that others can have put into the directory are not read, whatever they are.
func TestHostileDirectory(t *testing.T) {
	for name, put := range map[string]func(file string) error{
		"a FIFO":             func(file string) error { return syscall.Mkfifo(file, 0o600) },
		"a link":             func(file string) error { return os.Symlink("/dev/zero", file) },
		"too large":          func(file string) error { return errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, 1<<40)) },
		"writable by others": func(file string) error { return errors.Join(os.WriteFile(file, nil, 0o600), os.Chmod(file, 0o666)) },
	} {
		inBubble(t, func(t *testing.T) {
			s := newService(t)
			client := s.client(t, pccs)
			client.Dir = newDir(t)
			for _, p := range parts(client) {
				if err := put(filepath.Join(client.Dir, fileName(p))); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := client.Collateral(t.Context(), family); err != nil || len(s.take()) != 4 {
				t.Errorf("%s: %v", name, err)
			}
			// They are replaced.
			again := s.client(t, pccs)
			again.Dir = client.Dir
			if _, err := again.Collateral(t.Context(), family); err != nil || len(s.take()) != 0 {
				t.Errorf("%s, the next process: %v", name, err)
			}
		})
	}
	inBubble(t, func(t *testing.T) {
		client := newService(t).client(t, pccs)
		client.Dir = newDir(t)
		if err := os.Chmod(client.Dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Collateral(t.Context(), family); err == nil || !strings.Contains(err.Error(), "can be written by others") {
			t.Errorf("a directory that others can write to: %v", err)
		}
	})
}

func parts(c *Client) []part {
	a, b, d, e := c.Service.parts(family, c.Update)
	return []part{a, b, d, e}
}

// A file from the future is old, and no file can say that it need not be refreshed for longer than
// a service can.
func TestTimesOfFiles(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		client := s.client(t, pccs)
		client.Dir = newDir(t)
		if _, err := client.Collateral(t.Context(), family); err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(*response){
			"fetched in the future": func(r *response) {
				r.Fetched = time.Now().Add(48 * time.Hour)
				r.Expires = time.Now().Add(72 * time.Hour)
			},
			"never expires": func(r *response) {
				r.Fetched = time.Now().Add(-8 * 24 * time.Hour)
				r.Expires = time.Now().AddDate(1000, 0, 0)
			},
		} {
			for _, p := range parts(client) {
				file := filepath.Join(client.Dir, fileName(p))
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				var r response
				if err := json.Unmarshal(text, &r); err != nil {
					t.Fatal(err)
				}
				change(&r)
				if text, err = json.Marshal(r); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.take()
			other := s.client(t, pccs)
			other.Dir = client.Dir
			if _, err := other.Refresh(t.Context(), family); err != nil || len(s.take()) != 4 {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// A header is bounded as a body is.
func TestLargeHeader(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newService(t)
		s.first(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/tcb") {
				return false
			}
			w.Header().Set("TCB-Info-Issuer-Chain", strings.Repeat("x", 2*maxHeader))
			fmt.Fprint(w, "{}")
			return true
		})
		client := s.client(t, pccs)
		client.Attempts = 1
		if _, err := client.Collateral(t.Context(), family); err == nil || !strings.Contains(err.Error(), "response headers exceeded 65536 bytes") {
			t.Errorf("%v", err)
		}
	})
}
