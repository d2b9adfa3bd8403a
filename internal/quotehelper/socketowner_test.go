package quotehelper

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/sgx"
)

// A helper whose socket file is removed creates a new one in the same directory, and
// finishes the connections to the old one.
func TestRemovedSocket(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	directory, err := os.Stat(filepath.Dir(socket))
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket})
	r.expect(t, "serving quotes")
	early := dial(t, socket)
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	removed := time.Now()
	r.expect(t, "level=WARN msg=\"socket file was missing or stale: listening again")
	if err := askOn(t.Context(), early); err != nil { // at once: the helper waits a second for the request
		t.Errorf("connection made before: %v", err)
	}
	r.expect(t, "serving quotes")
	if d := time.Since(removed); d > 5*time.Second { // even on a busy machine
		t.Errorf("a new socket took %s", d)
	}
	if err := getQuote(t.Context(), socket); err != nil {
		t.Error(err)
	}
	if after, err := os.Stat(filepath.Dir(socket)); err != nil || !os.SameFile(directory, after) {
		t.Errorf("another directory: %v", err)
	}
}

// A helper does not touch another file in the place of its socket: it finishes its
// connections and ends with an error.
func TestFileInPlaceOfSocket(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket, TakeOver: true, StandBy: true})
	r.expect(t, "serving quotes")
	early := dial(t, socket)
	file := socket + "~"
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file, socket); err != nil {
		t.Fatal(err)
	}
	if err := askOn(t.Context(), early); err != nil {
		t.Errorf("connection made before: %v", err)
	}
	if err := r.end(t); !errors.Is(err, aesm.ErrNotSocket) || !strings.Contains(err.Error(), socket) {
		t.Errorf("%v, want %v", err, aesm.ErrNotSocket)
	}
	if left, err := os.ReadFile(socket); string(left) != "mine" {
		t.Errorf("the file has %q: %v", left, err)
	}
}

func TestStaleSocket(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	l, err := aesm.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	leaveStale(t, l)
	r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket})
	r.expect(t, "serving quotes")
	if err := getQuote(t.Context(), socket); err != nil {
		t.Error(err)
	}
}

func TestNoSocket(t *testing.T) {
	t.Parallel()
	live := socketPath(t)
	l, err := aesm.Listen(live)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := filepath.Join(filepath.Dir(live), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		socket   string
		takeOver bool
		want     error
		advice   string
	}{
		{"socket of a running daemon", live, false, aesm.ErrInUse, "take over"},
		{"another file", file, false, aesm.ErrNotSocket, "remove it"},
		{"another file, with TakeOver", file, true, aesm.ErrNotSocket, "remove it"},
		{"no directory", filepath.Join(file, "s"), false, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: tt.socket, TakeOver: tt.takeOver})
			err := r.end(t)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.socket) || !strings.Contains(err.Error(), tt.advice) {
				t.Errorf("%v, want %v and %q", err, tt.want, tt.advice)
			}
		})
	}
	if !l.Current() {
		t.Error("the running daemon has lost its socket")
	}
}

// A helper takes over as soon as it can make quotes, and not before.
func TestTakeOverNeedsQuotes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		recovers bool
	}{
		{"backend recovers", true},
		{"backend keeps failing", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			socket := socketPath(t)
			oldBackend, newBackend := newBackend(t, "old"), newFailing(t, "new")
			old := start(t, &Helper{Backend: oldBackend, Socket: socket})
			old.expect(t, "serving quotes")
			r := start(t, &Helper{Backend: newBackend, Socket: socket, TakeOver: true})
			<-newBackend.called
			r.expect(t, "level=WARN msg=\"quotes unavailable\" error=\"backend: not today\"")
			expectServedBy(t, socket, oldBackend)
			newBackend.fails.Store(!tt.recovers)
			<-newBackend.called // the next check
			if tt.recovers {
				r.expect(t, "quotes available again")
				r.expect(t, "serving quotes")
				expectServedBy(t, socket, newBackend)
				if err := old.end(t); err != nil {
					t.Error(err)
				}
				return
			}
			expectServedBy(t, socket, oldBackend)
			r.stop()
			if err := r.end(t); err != nil {
				t.Error(err)
			}
			expectServedBy(t, socket, oldBackend)
		})
	}
}

// A helper that cannot make quotes still takes a free socket, since some requests need
// no quote, and checks again.
func TestServesWithoutQuotes(t *testing.T) {
	t.Parallel()
	socket, backend := socketPath(t), newFailing(t, "node")
	r := start(t, &Helper{Backend: backend, Socket: socket})
	r.expect(t, "serving quotes")
	if err := getQuote(t.Context(), socket); !errors.Is(err, aesm.CodeUnexpected) {
		t.Errorf("%v", err)
	}
	if keys, err := (&aesm.Client{Socket: socket}).SupportedKeyIDs(t.Context()); len(keys) != 1 || err != nil {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	backend.fails.Store(false)
	r.expect(t, "quotes available again")
	if err := getQuote(t.Context(), socket); err != nil {
		t.Error(err)
	}
}

func TestReplaced(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket})
	r.expect(t, "serving quotes")
	early := dial(t, socket)
	successor, err := aesm.TakeOver(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	r.expect(t, "another daemon has taken over the socket")
	if err := askOn(t.Context(), early); err != nil {
		t.Errorf("connection made before: %v", err)
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if !successor.Current() {
		t.Error("the successor has lost its socket")
	}
}

// A helper that stands by takes the socket back, but only from a daemon that is gone.
func TestStandBy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, successor *aesm.Listener)
		log  string
	}{
		{"the successor dies", leaveStale, "socket file was missing or stale: listening again"},
		{"the successor ends", func(t *testing.T, l *aesm.Listener) {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}, "the other daemon has handed the socket over"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			socket := socketPath(t)
			r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket, TakeOver: true, StandBy: true})
			r.expect(t, "serving quotes")
			successor, err := aesm.TakeOver(socket)
			if err != nil {
				t.Fatal(err)
			}
			r.expect(t, "another daemon has taken over the socket")
			for range 2 { // polls of the helper that stands by
				conn, err := successor.Accept()
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
			}
			if !successor.Current() {
				t.Error("a running daemon has lost its socket")
			}
			tt.end(t, successor)
			r.expect(t, tt.log)
			r.expect(t, "serving quotes")
			if err := getQuote(t.Context(), socket); err != nil {
				t.Error(err)
			}
			r.stop()
			if err := r.end(t); err != nil {
				t.Error(err)
			}
			expectFiles(t, socket) // none, but for the targets
		})
	}
}

func TestStandByStops(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	r := start(t, &Helper{Backend: newBackend(t, "node"), Socket: socket, StandBy: true})
	r.expect(t, "serving quotes")
	successor, err := aesm.TakeOver(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	r.expect(t, "another daemon has taken over the socket")
	r.stop()
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if !successor.Current() {
		t.Error("the successor has lost its socket")
	}
}

// No client notices a helper that ends while another one stands by, as in an update that is
// rolled back before it is complete.
func TestHandedBack(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	oldBackend, newBackend := newBackend(t, "old"), newBackend(t, "new")
	old := start(t, &Helper{Backend: oldBackend, Socket: socket, TakeOver: true, StandBy: true})
	old.expect(t, "serving quotes")
	for range 3 {
		r := start(t, &Helper{Backend: newBackend, Socket: socket, TakeOver: true, StandBy: true})
		r.expect(t, "serving quotes")
		old.expect(t, "another daemon has taken over the socket")
		asking, enough := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() {
				for asking.Err() == nil {
					if err := getQuote(t.Context(), socket); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		expectServedBy(t, socket, newBackend)
		r.stop()
		old.expect(t, "the other daemon has handed the socket over")
		expectServedBy(t, socket, oldBackend)
		enough()
		clients.Wait()
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	}
	old.stop()
	if err := old.end(t); err != nil {
		t.Error(err)
	}
	expectFiles(t, socket)
}

// expectFiles checks which files are beside the targets in the directory of the socket.
func expectFiles(t *testing.T, socket string, want ...string) {
	t.Helper()
	var got []string
	files, err := os.ReadDir(filepath.Dir(socket))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".targets") {
			got = append(got, f.Name())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("files in the directory: %q, want %q", got, want)
	}
}

// No client notices helpers that take over from each other.
func TestManyTakeOvers(t *testing.T) {
	t.Parallel()
	socket, backend := socketPath(t), newBackend(t, "node")
	directory, err := os.Stat(filepath.Dir(socket))
	if err != nil {
		t.Fatal(err)
	}
	first := start(t, &Helper{Backend: backend, Socket: socket})
	first.expect(t, "serving quotes")

	asking, enough := context.WithCancel(t.Context())
	defer enough()
	var clients sync.WaitGroup
	var quotes atomic.Int32
	for range 4 {
		clients.Go(func() {
			for asking.Err() == nil {
				if err := getQuote(t.Context(), socket); err != nil {
					t.Error(err)
					return
				}
				quotes.Add(1)
			}
		})
	}
	helpers := []*running{first}
	for range 20 {
		r := start(t, &Helper{Backend: backend, Socket: socket, TakeOver: true})
		r.expect(t, "serving quotes")
		if err := getQuote(t.Context(), socket); err != nil {
			t.Error(err)
		}
		helpers = append(helpers, r)
	}
	for _, replaced := range helpers[:len(helpers)-1] {
		if err := replaced.end(t); err != nil {
			t.Error(err)
		}
	}
	enough()
	clients.Wait()
	if quotes.Load() == 0 {
		t.Error("the clients got no quotes")
	}
	if after, err := os.Stat(filepath.Dir(socket)); err != nil || !os.SameFile(directory, after) {
		t.Errorf("another directory: %v", err)
	}
	expectFiles(t, socket, filepath.Base(socket))
}

// renamed is a backend with another quoting enclave.
type renamed struct{ *simulated.Backend }

func (r renamed) InitQuote(ctx context.Context) (aesm.Initialized, error) {
	ready, err := r.Backend.InitQuote(ctx)
	ready.TargetInfo.MREnclave[0]++
	return ready, err
}

func (renamed) Quote(context.Context, sgx.Report, *aesm.Challenge) (aesm.Quoted, error) {
	return aesm.Quoted{}, aesm.CodeInvalidReport
}
