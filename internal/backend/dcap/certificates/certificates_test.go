package certificates

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/internal/backend/dcap/quote3"
)

// What the provider is asked is known to others, whatever it answers.
func TestLastQuery(t *testing.T) {
	p := &provider{err: quote3.PlatformLibUnavailable}
	dir := newDir(t)
	c := newCache(dir, p, new(bytes.Buffer))
	if q, known := LastQuery(dir); known {
		t.Errorf("known before: %+v", q)
	}
	for i, pceSVN := range []uint16{13, 14, 13} {
		id := ID{QEID: [16]byte{7}, PCESVN: pceSVN}
		ppid := fmt.Sprint("ppid", i) // another one each time, or the failure is remembered
		if _, err := c.get(id, ppid, 0); err == nil {
			t.Error("no error")
		}
		q, known := LastQuery(dir)
		if !known || q.ID != id || string(q.EncryptedPPID) != ppid {
			t.Errorf("%d: got %+v, %v", i, q, known)
		}
		past := time.Now().Add(-time.Hour)
		for _, name := range glob(t, dir, "query-*.json") {
			if err := os.Chtimes(name, past, past); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range glob(t, dir, "query-*.json") {
		if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if q, known := LastQuery(dir); known {
		t.Errorf("known from bad files: %+v", q)
	}
}

// What is kept for the platform is known to others, until the library refuses it.
func TestLastKept(t *testing.T) {
	p, dir := new(provider), newDir(t)
	c := newCache(dir, p, new(bytes.Buffer))
	p.set(chain(t, "first"), nil)
	if d, kept := LastKept(dir); kept {
		t.Errorf("kept before: %+v", d)
	}
	if _, err := c.get(ID{}, "ppid", 0); err != nil {
		t.Fatal(err)
	}
	if d, kept := LastKept(dir); !kept || !d.equal(chain(t, "first")) {
		t.Errorf("got %+v, %v", d, kept)
	}
	if _, err := c.get(ID{}, "ppid", quote3.AttKeyCertDataInvalid); err == nil {
		t.Error("no error")
	}
	if d, kept := LastKept(dir); kept {
		t.Errorf("refused, but kept: %+v", d)
	}
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	return names
}

// Data is fetched once for all processes, and kept byte for byte.
func TestGet(t *testing.T) {
	first := chain(t, "first")
	p := &provider{answer: Answer{first, Network}}
	dir := newDir(t)
	var log bytes.Buffer
	a, b := newCache(dir, p, &log), newCache(dir, p, &log)
	id := ID{QEID: [16]byte{7}, PCESVN: 13}
	if at, _ := LastFetched(dir); !at.IsZero() {
		t.Errorf("fetched at %s", at)
	}
	for _, c := range []*Cache{a, a, b} {
		got, err := c.get(id, "ppid", 0)
		if diff := cmp.Diff(first, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	if queries := p.take(); len(queries) != 1 || string(queries[0].EncryptedPPID) != "ppid" || queries[0].Fresh {
		t.Errorf("the provider was asked %+v", queries)
	}
	fetched, fromNetwork := LastFetched(dir)
	if age := time.Since(fetched); age < -time.Second || age > time.Minute || !fromNetwork.Equal(fetched) {
		t.Errorf("fetched %s ago, from the network at %s", age, fromNetwork)
	}
	for name, other := range map[string]struct {
		id        ID
		namespace string
	}{
		"another TCB":           {ID{QEID: [16]byte{7}, PCESVN: 14}, ""},
		"another configuration": {id, "other"},
	} {
		a.Namespace = other.namespace
		if _, err := a.get(other.id, "", 0); err != nil {
			t.Error(err)
		}
		if n := len(p.take()); n != 1 {
			t.Errorf("%s: the provider was asked %d times", name, n)
		}
	}
	if _, err := a.Get(id, nil); !errors.Is(err, errNoUse) {
		t.Errorf("outside of a use: %v", err)
	}
}

// Several processes that start together ask once.
func TestGetAtOnce(t *testing.T) {
	p := &provider{answer: Answer{chain(t, "one"), Network}, slow: make(chan struct{})}
	dir := newDir(t)
	var log bytes.Buffer
	var callers sync.WaitGroup
	for range 4 {
		c := newCache(dir, p, &log)
		for range 2 {
			callers.Go(func() {
				if _, err := c.get(ID{}, "", 0); err != nil {
					t.Error(err)
				}
			})
		}
	}
	close(p.slow)
	callers.Wait()
	if n := len(p.take()); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
}

// What the library has not accepted is not kept. What it has refused is dropped, and
// the provider must not answer with what it has kept of that itself.
func TestTrial(t *testing.T) {
	for _, c := range []struct {
		code    quote3.Error
		quoting bool // it is the result of a quote and not of an initialization
		refused bool
	}{
		{quote3.AttKeyNotInitialized, false, true},
		{quote3.AttKeyCertDataInvalid, false, true},
		{quote3.NoPlatformCertData, false, true},
		{quote3.KeyCertificationError, false, true},
		{quote3.AttKeyCertDataInvalid, true, true},
		{quote3.KeyCertificationError, true, true},
		{quote3.AttKeyNotInitialized, true, false}, // the key must be initialized first
		{quote3.NoPlatformCertData, true, false},
		{quote3.EnclaveLost, false, false},
		{0xe012, false, false},
	} {
		t.Run(c.code.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := chain(t, "first")
				p := &provider{answer: Answer{first, Network}}
				dir := newDir(t)
				var log bytes.Buffer
				cache := newCache(dir, p, &log)
				use := cache.Initialize
				if c.quoting {
					use = cache.Quote
				}
				for range 2 { // the process ends after a failure
					err := use(func() error {
						for range 2 {
							if _, err := cache.Get(ID{}, []byte("ppid")); err != nil {
								return err
							}
						}
						return c.code
					})
					if !errors.Is(err, c.code) {
						t.Errorf("got %v, want %v", err, c.code)
					}
					cache = newCache(dir, p, &log)
					if _, ok := cache.load(ID{}); ok {
						t.Error("it is kept")
					}
					use = cache.Initialize
					if c.quoting {
						use = cache.Quote
					}
				}
				want := 2
				if c.refused {
					want = 1 // the failure is remembered
				}
				if n := len(p.take()); n != want {
					t.Errorf("asked %d times, want %d", n, want)
				}
				time.Sleep(minPause)
				if _, err := cache.get(ID{}, "ppid", 0); err != nil {
					t.Error(err)
				}
				if queries := p.take(); len(queries) != 1 || queries[0].Fresh != c.refused {
					t.Errorf("asked %+v", queries)
				}
				if _, ok := cache.load(ID{}); !ok {
					t.Error("what was accepted is not kept")
				}
			})
		})
	}
}

// Data that is kept and refused later is replaced as soon as there is other data. Until
// then it is used: there is nothing better. A process in which it works goes on with it.
func TestKeptIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := chain(t, "first"), chain(t, "second")
		p := &provider{answer: Answer{first, Network}}
		dir := newDir(t)
		var log bytes.Buffer
		works := newCache(dir, p, &log)
		if _, err := works.get(ID{}, "ppid", 0); err != nil {
			t.Fatal(err)
		}
		fails := newCache(dir, p, &log)
		if _, err := fails.get(ID{}, "", quote3.KeyCertificationError); !errors.Is(err, quote3.KeyCertificationError) {
			t.Errorf("got %v", err)
		}
		p.take()
		p.set(Data{}, quote3.NetworkError)
		next := newCache(dir, p, &log)
		if got, err := next.get(ID{}, "", quote3.KeyCertificationError); !errors.Is(err, quote3.KeyCertificationError) || !got.equal(first) || len(p.take()) != 1 {
			t.Errorf("got %.20s, %v, want what is kept", got.Chain, err)
		}
		if got, err := works.get(ID{}, "", 0); err != nil || !got.equal(first) || len(p.take()) != 0 {
			t.Errorf("got %.20s, %v, want what is kept", got.Chain, err)
		}
		// It works there, so it is not refused any more.
		if e, ok := next.load(ID{}); !ok || e.Refused {
			t.Errorf("kept %v, refused %v", ok, e.Refused)
		}
		if _, err := fails.get(ID{}, "", quote3.KeyCertificationError); err == nil {
			t.Error("no error")
		}
		p.set(second, nil)
		time.Sleep(maxPause)
		next = newCache(dir, p, &log)
		if got, err := next.get(ID{}, "", 0); err != nil || !got.equal(second) {
			t.Errorf("got %.20s, %v, want other data", got.Chain, err)
		}
		if got, err := works.get(ID{}, "", 0); err != nil || !got.equal(second) {
			t.Errorf("got %.20s, %v, want other data", got.Chain, err)
		}
	})
}

// A failure is remembered, for longer each time and by all processes, so that quotes do
// not wait for a provider that is down. Another encrypted PPID is another question.
func TestGetFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := quote3.NetworkError
		p := &provider{err: broken}
		var log bytes.Buffer
		dir := newDir(t)
		get := func(ppid string) {
			t.Helper()
			// The process ends after each failure.
			if _, err := newCache(dir, p, &log).get(ID{}, ppid, 0); !errors.Is(err, broken) || err.Error() != broken.Error() {
				t.Errorf("got %v", err)
			}
		}
		for range 1000 {
			get("")
		}
		if n := len(p.take()); n != 1 {
			t.Errorf("asked %d times", n)
		}
		get("ppid")
		get("ppid")
		if n := len(p.take()); n != 1 {
			t.Errorf("asked %d times with the encrypted PPID", n)
		}
		for range 10 * time.Minute / time.Second {
			time.Sleep(time.Second)
			get("")
		}
		if n, want := len(p.take()), int(10*time.Minute/maxPause); n < want || n > want+5 {
			t.Errorf("asked %d times in ten minutes, want about %d", n, want)
		}
		p.set(chain(t, "new"), nil)
		time.Sleep(maxPause)
		c := newCache(dir, p, &log)
		if got, err := c.get(ID{}, "", 0); err != nil || !got.equal(chain(t, "new")) {
			t.Errorf("%.20s, %v", got.Chain, err)
		}
		if err := c.failure(ID{}, nil); err != nil {
			t.Errorf("after a success, %v is remembered", err)
		}

		// Without the directory there is no lock.
		c.Dir = filepath.Join(c.Dir, "missing")
		if _, err := c.get(ID{PCEID: 1}, "", 0); err == nil {
			t.Error("a missing directory is no error")
		}
	})
}

// A failure is remembered however long its text is.
func TestLongFailure(t *testing.T) {
	p := &provider{err: fmt.Errorf("%s: %w", strings.Repeat("\x00", maxFailure), quote3.NetworkError)}
	var log bytes.Buffer
	c := newCache(newDir(t), p, &log)
	for range 3 {
		if _, err := c.get(ID{}, "", 0); !errors.Is(err, quote3.NetworkError) {
			t.Errorf("got %.40v", err)
		}
	}
	if n := len(p.take()); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// An answer that is of no use is a failure, whatever the provider reports.
func TestUselessAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(provider)
		var log bytes.Buffer
		c := newCache(newDir(t), p, &log)
		_, err := c.get(ID{}, "", 0)
		if _, ok := errors.AsType[*UselessError](err); !ok || !errors.Is(err, quote3.MessageParsingError) {
			t.Errorf("got %v", err)
		}
		if _, err := c.get(ID{}, "", 0); !errors.Is(err, quote3.MessageParsingError) {
			t.Errorf("remembered: %v", err)
		}
		time.Sleep(minPause)
		if _, err := c.get(ID{}, "", 0); err == nil {
			t.Error("no error")
		}
		if queries := p.take(); len(queries) != 2 || queries[0].Fresh || !queries[1].Fresh {
			t.Errorf("asked %+v", queries)
		}
	})
}

// A failure from before the clock was set back, and a file that is damaged, count for
// nothing.
func TestStrangeFailures(t *testing.T) {
	for name, text := range map[string]string{
		"from the future": `{"Code":57369,"Text":"no network","Until":"2999-01-01T00:00:00Z","Pause":1000000000}`,
		"for ever":        `{"Code":57369,"Text":"no network","Until":"2999-01-01T00:00:00Z","Pause":9000000000000000000}`,
		"damaged":         `{`,
		"empty":           ``,
		"large":           strings.Repeat(" ", maxFailure+1) + `{}`,
	} {
		p := &provider{answer: Answer{chain(t, "new"), Network}}
		var log bytes.Buffer
		c := newCache(newDir(t), p, &log)
		if err := os.WriteFile(filepath.Join(c.Dir, c.failureFile(ID{})), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.get(ID{}, "", 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file that is damaged, too large, not a file or somebody else's counts as missing, and is
// logged once.
func TestBadFiles(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"damaged":            func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
		"empty":              func(path string) error { return os.WriteFile(path, []byte("{}"), 0o600) },
		"no certificates":    func(path string) error { return os.WriteFile(path, []byte(`{"Data":{"Chain":"YQ=="}}`), 0o600) },
		"too large":          func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) },
		"a FIFO":             func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link":             func(path string) error { return os.Symlink("/dev/zero", path) },
		"writable by others": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := &provider{err: errors.New("no network")}
			var log bytes.Buffer
			c := newCache(newDir(t), p, &log)
			if err := put(filepath.Join(c.Dir, c.file(ID{}))); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := c.get(ID{}, "", 0); err == nil {
					t.Error("got certificates")
				}
			}
			if n := strings.Count(log.String(), "read platform certificates failed"); n != 1 {
				t.Errorf("logged %d times: %s", n, &log)
			}
			p.set(chain(t, "new"), nil)
			if _, err := c.get(ID{}, "ppid", 0); err != nil {
				t.Error(err)
			}
			if e, ok := c.load(ID{}); !ok || !e.Data.equal(chain(t, "new")) {
				t.Errorf("stored %+v", e)
			}
		})
	}
}

// Data that cannot be stored is used by the process that has fetched it.
func TestStoreFails(t *testing.T) {
	p := &provider{answer: Answer{chain(t, "new"), Network}}
	var log bytes.Buffer
	c := newCache(newDir(t), p, &log)
	path := filepath.Join(c.Dir, c.file(ID{}))
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.get(ID{}, "", 0); err != nil {
			t.Error(err)
		}
	}
	if n := len(p.take()); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if !strings.Contains(log.String(), "store platform certificates failed") {
		t.Errorf("logged %s", &log)
	}
}

// Locking follows no link and waits for no FIFO.
func TestLock(t *testing.T) {
	p := &provider{answer: Answer{chain(t, "new"), Network}}
	var log bytes.Buffer
	for name, put := range map[string]func(path string) error{
		"a FIFO": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		c := newCache(newDir(t), p, &log)
		if err := put(filepath.Join(c.Dir, ".lock")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.get(ID{}, "", 0); err == nil || !strings.Contains(err.Error(), name[2:]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Data from the future is used, but is old; it does not count as fetched.
func TestFuture(t *testing.T) {
	now := chain(t, "now")
	p := &provider{answer: Answer{now, ProviderCache}}
	var log bytes.Buffer
	c := newCache(newDir(t), p, &log)
	future := time.Now().Add(24 * time.Hour)
	c.save(ID{}, entry{Fetched: future, FromNetwork: future, Data: now})
	if got, err := c.get(ID{}, "", 0); err != nil || !got.equal(now) || !c.isOld(ID{}) {
		t.Errorf("%.20s, %v, old %v", got.Chain, err, c.isOld(ID{}))
	}
	if at, network := LastFetched(c.Dir); !at.IsZero() || !network.IsZero() {
		t.Errorf("fetched at %s, from the network at %s", at, network)
	}
	if err := c.refresh(t.Context()); err != nil || c.isOld(ID{}) {
		t.Errorf("after a refresh: %v", err)
	}
}

// refreshed is a cache that is refreshed in the background.
type refreshed struct {
	*Cache
	provider *provider
	log      *bytes.Buffer
	proofs   int
	refusal  quote3.Error // by which the library refuses data that is not accepted
	accepted []Data
}

// testRefresh runs a test with a refreshed cache, which has the data of "first".
func testRefresh(t *testing.T, test func(t *testing.T, r *refreshed)) {
	synctest.Test(t, func(t *testing.T) {
		first := chain(t, "first")
		r := &refreshed{provider: &provider{answer: Answer{first, Network}}, log: new(bytes.Buffer), accepted: []Data{first}}
		r.Cache = newCache(newDir(t), r.provider, r.log)
		r.Prove = func() error {
			r.proofs++
			data, err := r.Get(ID{}, nil)
			if err != nil {
				return err
			}
			for _, a := range r.accepted {
				if data.equal(a) {
					return nil
				}
			}
			return r.refusal
		}
		if _, err := r.get(ID{}, "ppid", 0); err != nil {
			t.Fatal(err)
		}
		r.provider.take()
		// Run must end before the directory is removed.
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { r.Run(ctx) })
		test(t, r)
		cancel()
		run.Wait()
	})
}

func (r *refreshed) expect(t *testing.T, want Data) {
	t.Helper()
	got, err := r.get(ID{}, "", 0)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// Old data is refreshed in the background, with the encrypted PPID from the first
// call, and stays in use if that fails.
func TestRefresh(t *testing.T) {
	testRefresh(t, func(t *testing.T, r *refreshed) {
		second := chain(t, "second")
		r.accepted = append(r.accepted, second)
		time.Sleep(59 * time.Minute)
		if queries := r.provider.take(); len(queries) != 0 {
			t.Errorf("asked %+v before its time", queries)
		}
		r.provider.set(Data{}, errors.New("no network"))
		time.Sleep(5 * time.Minute)
		r.expect(t, r.accepted[0])
		if queries := r.provider.take(); len(queries) != 1 || string(queries[0].EncryptedPPID) != "ppid" {
			t.Errorf("asked %+v", queries)
		}
		synctest.Wait()
		if !strings.Contains(r.log.String(), "no network") {
			t.Errorf("logged %s", r.log)
		}
		r.provider.set(second, nil)
		time.Sleep(10 * time.Minute)
		r.expect(t, second)
		r.provider.take()
		if r.proofs != 1 {
			t.Errorf("%d proofs, want 1", r.proofs)
		}
		time.Sleep(30 * time.Minute)
		if queries := r.provider.take(); len(queries) != 0 {
			t.Errorf("asked %+v before its time", queries)
		}
	})
}

// The same data needs no proof. Where it came from is recorded.
func TestRefreshSame(t *testing.T) {
	testRefresh(t, func(t *testing.T, r *refreshed) {
		began, _ := LastFetched(r.Dir)
		r.provider.mu.Lock()
		r.provider.answer.Source = ProviderCache
		r.provider.mu.Unlock()
		time.Sleep(70 * time.Minute)
		synctest.Wait()
		if len(r.provider.take()) != 1 || r.proofs != 0 {
			t.Errorf("%d proofs, want none", r.proofs)
		}
		fetched, fromNetwork := LastFetched(r.Dir)
		if !fromNetwork.Equal(began) || fetched.Sub(began) < time.Hour {
			t.Errorf("fetched %s later, from the network %s later", fetched.Sub(began), fromNetwork.Sub(began))
		}
		if !strings.Contains(r.log.String(), `source="provider cache"`) {
			t.Errorf("logged %s", r.log)
		}
	})
}

// What the library refuses at a refresh is dropped, and the library has the kept data
// again before the next quote.
func TestRefreshRefused(t *testing.T) {
	for _, code := range []quote3.Error{quote3.KeyCertificationError, quote3.AttKeyNotInitialized, 0xe012} {
		t.Run(code.Error(), func(t *testing.T) {
			testRefresh(t, func(t *testing.T, r *refreshed) {
				r.refusal = code
				r.provider.set(chain(t, "second"), nil)
				time.Sleep(65 * time.Minute)
				synctest.Wait()
				if r.proofs != 2 {
					t.Errorf("%d proofs, want one of the new data and one of the kept", r.proofs)
				}
				r.expect(t, r.accepted[0])
				if e, ok := newCache(r.Dir, r.provider, r.log).load(ID{}); !ok || !e.Data.equal(r.accepted[0]) || e.Refused {
					t.Errorf("kept: %v", ok)
				}
				if !strings.Contains(r.log.String(), "refresh platform certificates failed") {
					t.Errorf("logged %s", r.log)
				}
			})
		})
	}
}

// Uses of the library do not mix with a proof, and wait for no provider.
func TestRefreshHangs(t *testing.T) {
	testRefresh(t, func(t *testing.T, r *refreshed) {
		r.provider.mu.Lock()
		r.provider.slow = make(chan struct{})
		r.provider.mu.Unlock()
		time.Sleep(65 * time.Minute)
		if len(r.provider.take()) != 1 {
			t.Error("no refresh")
		}
		began := time.Now()
		r.expect(t, r.accepted[0])
		if took := time.Since(began); took != 0 {
			t.Errorf("a quote took %s", took)
		}
	})
}
