package upstream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon is the aesmd behind the socket: an aesm.Handler that quotes with a simulated
// backend, unless its fields say otherwise.
type daemon struct {
	quoting.Backend
	key aesm.KeyID

	mu       sync.Mutex
	size     int   // of quotes, if not 0: they are resized
	sizeErr  error // of QuoteSize
	quoteErr error // of Quote
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	b, err := simulated.New("node-1")
	if err != nil {
		t.Fatal(err)
	}
	return &daemon{Backend: b, key: aesm.IntelQE3KeyID()}
}

// set changes the daemon while it serves.
func (d *daemon) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func (d *daemon) KeyIDs(context.Context) ([]aesm.KeyID, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return []aesm.KeyID{d.key}, nil
}

func (d *daemon) InitQuote(ctx context.Context, _ aesm.Caller, _ aesm.KeyID) (aesm.Initialized, error) {
	return d.Backend.InitQuote(ctx)
}

func (d *daemon) QuoteSize(ctx context.Context, _ aesm.KeyID) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.size != 0 || d.sizeErr != nil {
		return d.size, d.sizeErr
	}
	return d.Backend.QuoteSize(ctx)
}

func (d *daemon) Quote(ctx context.Context, _ aesm.Caller, _ aesm.KeyID, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	d.mu.Lock()
	size, err := d.size, d.quoteErr
	d.mu.Unlock()
	if err != nil {
		return aesm.Quoted{}, err
	}
	quoted, err := d.Backend.Quote(ctx, report, challenge)
	if err == nil && size != 0 {
		quoted.Quote = resized(quoted.Quote, size)
	}
	return quoted, err
}

// resized returns a quote with another length, also of its signature data.
func resized(q []byte, size int) []byte {
	other := make([]byte, size)
	copy(other, q)
	binary.LittleEndian.PutUint32(other[quote.OffsetSignatureDataLen:], uint32(size-quote.OffsetSignatureData))
	return other
}

// serve runs a daemon at path until stop is called, or the test ends.
func serve(t *testing.T, path string, d aesm.Handler) (stop func()) {
	t.Helper()
	l, err := aesm.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := (&aesm.Server{Handler: d}).Serve(ctx, l); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// socketPath returns a path for a socket that is short enough.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "upstream")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "aesm.socket")
}

// lines holds what is logged: whole lines, without their time.
type lines chan string

func newLog() (*slog.Logger, lines) {
	l := make(lines, 64)
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})), l
}

func (l lines) Write(p []byte) (int, error) {
	l <- strings.TrimSpace(string(p))
	return len(p), nil
}

// expect checks what each line that has been logged so far starts with.
func (l lines) expect(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-l:
			if !strings.HasPrefix(got, w) {
				t.Errorf("logged %q, want %q", got, w)
			}
		default:
			t.Errorf("nothing logged, want %q", w)
		}
	}
	select {
	case got := <-l:
		t.Errorf("logged %q as well", got)
	default:
	}
}

// wire counts the requests to the daemon.
type wire struct {
	mu    sync.Mutex
	asked map[aesm.Kind]int
}

// watch puts a wire between a backend and its daemon.
func watch(b *Backend) *wire {
	w := &wire{asked: make(map[aesm.Kind]int)}
	dial := b.client.Dial
	if dial == nil {
		dial = func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", b.client.Socket)
		}
	}
	b.client.Dial = func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return &tap{conn, w}, nil
	}
	return w
}

type tap struct {
	net.Conn
	wire *wire
}

func (c *tap) Write(p []byte) (int, error) {
	c.wire.mu.Lock()
	c.wire.asked[kindOf(p)]++
	c.wire.mu.Unlock()
	return c.Conn.Write(p)
}

// kindOf returns the kind of a request, from the first tag in its frame.
func kindOf(frame []byte) aesm.Kind {
	tag, _ := binary.Uvarint(frame[4:])
	return aesm.Kind(tag >> 3)
}

// take returns how many requests of a kind there were since its last call.
func (w *wire) take(kind aesm.Kind) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.asked[kind]
	delete(w.asked, kind)
	return n
}

// raw replaces the daemon by one that answers each request with the bytes that reply
// returns, and closes. It is dialed through pipes, for tests on fake time.
func raw(b *Backend, reply func(aesm.Kind) []byte) {
	b.client.Dial = func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			if request, err := readFrame(theirs); err == nil {
				theirs.Write(reply(kindOf(request)))
			}
		}()
		return ours, nil
	}
}

// readFrame reads a message with its header.
func readFrame(r io.Reader) ([]byte, error) {
	frame := new(bytes.Buffer)
	if _, err := io.CopyN(frame, r, 4); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(frame.Bytes())
	_, err := io.CopyN(frame, r, int64(size))
	return frame.Bytes(), err
}

// hang makes the daemon accept connections and never reply.
func hang(b *Backend) {
	b.client.Dial = func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			io.Copy(io.Discard, theirs)
		}()
		return ours, nil
	}
}

// refuseDial makes every connection fail with an error of the kernel.
func refuseDial(b *Backend, cause error) {
	b.client.Dial = func(context.Context) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", cause)}
	}
}

// sizeReply is the frame of a GetQuoteSizeEx reply: success and a size below
// 16384.
func sizeReply(size int) []byte {
	return []byte{8, 0, 0, 0, 0x82, 1, 5, 8, 0, 0x10, byte(size) | 0x80, byte(size >> 7)}
}

// wantFailure checks that err is a failure with this layer and code, a cause and
// advice.
func wantFailure(t *testing.T, err error, layer quoting.Layer, code aesm.Code) {
	t.Helper()
	f, ok := errors.AsType[*quoting.Failure](err)
	if !ok || f.Layer != layer || f.Code != code {
		t.Errorf("got %v, want %s and %s", err, layer, code)
		return
	}
	if f.Err == nil || f.Advice == "" && f.Code.Advice() == "" {
		t.Errorf("%v: the cause is %v, the advice %q", f, f.Err, f.Advice)
	}
	if !errors.Is(err, code) {
		t.Errorf("%v does not wrap %s", err, code)
	}
}

// TestAbsentUntilDeadline checks that a daemon that does not exist is not taken for one that
// is slow if the deadline ends the last attempt.
func TestAbsentUntilDeadline(t *testing.T) {
	b := New(filepath.Join(t.TempDir(), "aesm.socket"), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(t.Context(), 10*retryPause)
	defer cancel()
	attempts := 0
	b.client.Dial = func(ctx context.Context) (net.Conn, error) {
		if attempts++; attempts == 1 {
			return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.ENOENT)}
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if _, err := b.InitQuote(ctx); !errors.Is(err, fs.ErrNotExist) || attempts != 2 {
		t.Errorf("after %d attempts: %v, want 2 and %v", attempts, err, fs.ErrNotExist)
	}
}
