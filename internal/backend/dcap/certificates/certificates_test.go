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

func newCache(dir string, p *provider, log *bytes.Buffer) *Cache {
	return &Cache{Dir: dir, RefreshAfter: time.Hour, Fetch: p.fetch, Log: slog.New(slog.NewTextHandler(log, nil))}
}

func chain(text string) Data {
	return Data{CPUSVN: [16]byte{1}, PCESVN: 13, Chain: []byte(text + "\x00")}
}

// Data is fetched once for all processes, and kept byte for byte.
func TestGet(t *testing.T) {
	p := &provider{data: chain("first")}
	dir := t.TempDir()
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
	dir := t.TempDir()
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

func TestGetFails(t *testing.T) {
	broken := errors.New("no network")
	p := &provider{err: broken}
	var log bytes.Buffer
	c := newCache(t.TempDir(), p, &log)
	for range 2 {
		if _, err := c.Get(ID{}, nil); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	}
	if n := len(p.take()); n != 2 {
		t.Errorf("asked %d times", n)
	}

	// A damaged file counts as missing.
	p.set(chain("new"), nil)
	if err := os.WriteFile(c.path(ID{}), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(ID{}, nil); err != nil || !strings.Contains(log.String(), "read platform certificates failed") {
		t.Errorf("%v, logged %s", err, &log)
	}

	// Without the directory there is no lock.
	c.Dir = filepath.Join(c.Dir, "missing")
	if _, err := c.Get(ID{}, nil); err == nil {
		t.Error("a missing directory is no error")
	}
}

// Old data is refreshed in the background, with the encrypted PPID from the first
// call, and stays in use if that fails.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{data: chain("first")}
		var log bytes.Buffer
		c := newCache(t.TempDir(), p, &log)
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
