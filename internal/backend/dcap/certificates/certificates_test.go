package certificates

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// provider counts its calls and returns what the test sets.
type provider struct {
	mu    sync.Mutex
	calls []string // the encrypted PPIDs
	data  Data
	err   error
	slow  chan struct{} // if set, fetch blocks until it is closed
}

func (p *provider) fetch(_ ID, ppid []byte) (Data, error) {
	p.mu.Lock()
	p.calls = append(p.calls, string(ppid))
	data, err, slow := p.data, p.err, p.slow
	p.mu.Unlock()
	if slow != nil {
		<-slow
	}
	return data, err
}

func (p *provider) set(data Data, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.data, p.err = data, err
}

func (p *provider) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := p.calls
	p.calls = nil
	return calls
}

// newDir returns a directory that only this user can write to.
func newDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "certificates")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func newCache(dir string, p *provider, log *bytes.Buffer) *Cache {
	return &Cache{Dir: dir, RefreshAfter: time.Hour, Fetch: p.fetch, Log: slog.New(slog.NewTextHandler(log, nil))}
}

func chain(text string) Data {
	return Data{CPUSVN: [16]byte{1}, PCESVN: 13, Chain: []byte(text + "\x00")}
}

// Data is fetched once for all processes, and kept byte for byte.
func TestGet(t *testing.T) {
	p := &provider{data: chain("first")}
	dir := newDir(t)
	var log bytes.Buffer
	a, b := newCache(dir, p, &log), newCache(dir, p, &log)
	id := ID{QEID: [16]byte{7}, PCESVN: 13}
	if at := LastFetched(dir); !at.IsZero() {
		t.Errorf("fetched at %s", at)
	}
	for _, c := range []*Cache{a, a, b} {
		got, err := c.Get(id, []byte("ppid"))
		if diff := cmp.Diff(chain("first"), got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	if calls := p.take(); len(calls) != 1 || calls[0] != "ppid" {
		t.Errorf("the provider was asked %q", calls)
	}
	if age := time.Since(LastFetched(dir)); age < -time.Second || age > time.Minute {
		t.Errorf("fetched %s ago", age)
	}
	for name, other := range map[string]struct {
		id        ID
		namespace string
	}{
		"another TCB":           {ID{QEID: [16]byte{7}, PCESVN: 14}, ""},
		"another configuration": {id, "other"},
	} {
		a.Namespace = other.namespace
		if _, err := a.Get(other.id, nil); err != nil {
			t.Error(err)
		}
		if n := len(p.take()); n != 1 {
			t.Errorf("%s: the provider was asked %d times", name, n)
		}
	}
}

func TestGetAtOnce(t *testing.T) {
	p := &provider{data: chain("one"), slow: make(chan struct{})}
	dir := newDir(t)
	var log bytes.Buffer
	var callers sync.WaitGroup
	for range 4 {
		c := newCache(dir, p, &log)
		for range 2 {
			callers.Go(func() {
				if _, err := c.Get(ID{}, nil); err != nil {
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

// A failure is remembered, for longer each time, so that quotes do not wait for a provider that
// is down. Another encrypted PPID is another question.
func TestGetFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no network")
		p := &provider{err: broken}
		var log bytes.Buffer
		c := newCache(newDir(t), p, &log)
		get := func(ppid string) {
			t.Helper()
			if _, err := c.Get(ID{}, []byte(ppid)); !errors.Is(err, broken) {
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
		if n := len(p.take()); n < 14 || n > 45 {
			t.Errorf("asked %d times in ten minutes", n)
		}
		p.set(chain("new"), nil)
		time.Sleep(time.Minute)
		if got, err := c.Get(ID{}, nil); err != nil || string(got.Chain) != "new\x00" {
			t.Errorf("%q, %v", got.Chain, err)
		}

		p.set(Data{}, nil)
		if _, err := c.Get(ID{PCEID: 1}, nil); err == nil || !strings.Contains(err.Error(), "no certificates") {
			t.Errorf("an empty answer: %v", err)
		}

		// Without the directory there is no lock.
		c.Dir = filepath.Join(c.Dir, "missing")
		if _, err := c.Get(ID{}, nil); err == nil {
			t.Error("a missing directory is no error")
		}
	})
}

// A file that is damaged, too large, not a file or somebody else's counts as missing, and is
// logged once.
func TestBadFiles(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"damaged":            func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
		"empty":              func(path string) error { return os.WriteFile(path, []byte("{}"), 0o600) },
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
				if _, err := c.Get(ID{}, nil); err == nil {
					t.Error("got certificates")
				}
			}
			if n := strings.Count(log.String(), "read platform certificates failed"); n != 1 {
				t.Errorf("logged %d times: %s", n, &log)
			}
			p.set(chain("new"), nil)
			if _, err := c.Get(ID{}, []byte("ppid")); err != nil {
				t.Error(err)
			}
			if e, ok := c.load(ID{}); !ok || string(e.Data.Chain) != "new\x00" {
				t.Errorf("stored %+v", e)
			}
		})
	}
}

// Locking follows no link and waits for no FIFO.
func TestLock(t *testing.T) {
	p := &provider{data: chain("new")}
	var log bytes.Buffer
	for name, put := range map[string]func(path string) error{
		"a FIFO": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		c := newCache(newDir(t), p, &log)
		if err := put(filepath.Join(c.Dir, ".lock")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(ID{}, nil); err == nil || !strings.Contains(err.Error(), name[2:]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Data from the future is used, but is old; a file from the future does not count as fetched.
func TestFuture(t *testing.T) {
	p := &provider{data: chain("now")}
	var log bytes.Buffer
	c := newCache(newDir(t), p, &log)
	future := time.Now().Add(24 * time.Hour)
	if err := c.store(ID{}, entry{Fetched: future, Data: chain("future")}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(c.Dir, c.file(ID{})), future, future); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(ID{}, nil); err != nil || string(got.Chain) != "future\x00" || !c.isOld(ID{}) {
		t.Errorf("%q, %v, old %v", got.Chain, err, c.isOld(ID{}))
	}
	if at := LastFetched(c.Dir); !at.IsZero() {
		t.Errorf("fetched at %s", at)
	}
	if err := c.refresh(); err != nil || c.isOld(ID{}) {
		t.Errorf("after a refresh: %v", err)
	}
}

// Old data is refreshed in the background, with the encrypted PPID from the first
// call, and stays in use if that fails.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{data: chain("first")}
		var log bytes.Buffer
		c := newCache(newDir(t), p, &log)
		// Run must end before the directory is removed.
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { c.Run(ctx) })
		defer run.Wait()
		defer cancel()
		get := func(want string) {
			t.Helper()
			got, err := c.Get(ID{}, nil)
			if diff := cmp.Diff(chain(want), got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		}
		if _, err := c.Get(ID{}, []byte("ppid")); err != nil {
			t.Fatal(err)
		}
		p.take()
		time.Sleep(59 * time.Minute)
		if calls := p.take(); len(calls) != 0 {
			t.Errorf("asked %q before its time", calls)
		}
		p.set(Data{}, errors.New("no network"))
		time.Sleep(5 * time.Minute)
		get("first")
		if calls := p.take(); len(calls) != 1 || calls[0] != "ppid" {
			t.Errorf("asked %q", calls)
		}
		synctest.Wait()
		if !strings.Contains(log.String(), "no network") {
			t.Errorf("logged %s", &log)
		}
		p.set(chain("second"), nil)
		time.Sleep(10 * time.Minute)
		get("second")
		p.take()
		time.Sleep(30 * time.Minute)
		if calls := p.take(); len(calls) != 0 {
			t.Errorf("asked %q before its time", calls)
		}
	})
}
