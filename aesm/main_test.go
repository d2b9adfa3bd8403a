package aesm

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stub is a Handler that returns the values of its fields.
type stub struct {
	keys     []KeyID
	ready    Initialized
	size     int // 0: the length of quote
	quote    []byte
	qeReport sgx.Report
	keysErr  error
	initErr  error
	sizeErr  error
	quoteErr error
	onQuote  func(ctx context.Context, caller Caller) // called before the quote is returned

	mu        sync.Mutex
	key       KeyID      // of the last quote
	challenge *Challenge // of the last quote
}

func newStub() *stub {
	return &stub{keys: []KeyID{IntelQE3KeyID()}, quote: fakeQuote(1000)}
}

// testBackend returns the description of a backend.
func testBackend(pceSVN uint16) Backend {
	b := Backend{Kind: "dcap", Certified: true, PCESVN: pceSVN}
	for i := range b.Components {
		b.Components[i] = 10
	}
	return b
}

func (s *stub) KeyIDs(context.Context) ([]KeyID, error) { return s.keys, s.keysErr }

func (s *stub) InitQuote(context.Context, Caller, KeyID) (Initialized, error) {
	return s.ready, s.initErr
}

func (s *stub) QuoteSize(context.Context, KeyID) (int, error) {
	if s.size != 0 {
		return s.size, s.sizeErr
	}
	return len(s.quote), s.sizeErr
}

func (s *stub) Quote(ctx context.Context, caller Caller, key KeyID, _ sgx.Report, challenge *Challenge) (Quoted, error) {
	if s.onQuote != nil {
		s.onQuote(ctx, caller)
	}
	s.mu.Lock()
	s.key, s.challenge = key, challenge
	s.mu.Unlock()
	return Quoted{Quote: s.quote, QEReport: s.qeReport}, s.quoteErr
}

// fakeQuote returns n bytes with the length of signature data that a quote of n bytes
// has.
func fakeQuote(n int) []byte {
	q := make([]byte, n)
	for i := range q {
		q[i] = 0xa5
	}
	binary.LittleEndian.PutUint32(q[quote.OffsetSignatureDataLen:], uint32(n-quote.OffsetSignatureData))
	return q
}

// socketPath returns a path that is short enough for a socket.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "aesm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "aesm.socket")
}

// start serves on a new socket until the test ends, and returns the path of the socket
// and the exchanges that the server reports.
func start(t testing.TB, s *Server) (path string, seen <-chan Exchange) {
	t.Helper()
	l, err := Listen(socketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	exchanges := make(chan Exchange, 4096)
	s.Observe = func(_ context.Context, e Exchange) { exchanges <- e }
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.serve(ctx, l, time.Millisecond); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return l.Addr().String(), exchanges
}

func dialUnix(t testing.TB, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// pipes is a listener for connections in memory, for tests on fake time. Errors sent to
// errs take precedence.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	errs   chan error
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), closed: make(chan struct{}), errs: make(chan error, 8)}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case err := <-p.errs:
		return nil, err
	default:
	}
	select {
	case c := <-p.conns:
		return c, nil
	case err := <-p.errs:
		return nil, err
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

var errStub = errors.New("the stub says no")
