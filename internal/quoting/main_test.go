package quoting

import (
	"context"
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/peer"
	"github.com/confcom/confcom/sgx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stub is a Backend that does what its fields say. A method without a field succeeds
// at once.
type stub struct {
	init  func(ctx context.Context) (aesm.Initialized, error)
	size  func(ctx context.Context) (int, error)
	quote func(ctx context.Context) (aesm.Quoted, error)
}

// stubSize is the length of a stub's quote, and what its QuoteSize returns.
const stubSize = 500

func (p *stub) InitQuote(ctx context.Context) (aesm.Initialized, error) {
	if p.init != nil {
		return p.init(ctx)
	}
	return aesm.Initialized{PublicKeyID: [aesm.PublicKeyIDSize]byte{7}}, nil
}

func (p *stub) QuoteSize(ctx context.Context) (int, error) {
	if p.size != nil {
		return p.size(ctx)
	}
	return stubSize, nil
}

func (p *stub) Quote(ctx context.Context, _ sgx.Report, _ *aesm.Challenge) (aesm.Quoted, error) {
	if p.quote != nil {
		return p.quote(ctx)
	}
	return aesm.Quoted{Quote: make([]byte, stubSize)}, nil
}

// gate lets quotes through one by one.
type gate struct {
	entered chan struct{} // receives when a request reaches the backend
	leave   chan struct{} // lets one request finish
}

func newGate() *gate {
	return &gate{entered: make(chan struct{}), leave: make(chan struct{})}
}

// pass is a stub's Quote.
func (g *gate) pass(ctx context.Context) (aesm.Quoted, error) {
	g.entered <- struct{}{}
	select {
	case <-g.leave:
		return aesm.Quoted{Quote: make([]byte, stubSize)}, nil
	case <-ctx.Done():
		return aesm.Quoted{}, ctx.Err()
	}
}

// quoteAs requests a quote as a process of a pod does.
func quoteAs(ctx context.Context, s *Service, pod string) error {
	_, err := s.Quote(ctx, aesm.Caller{Peer: peer.Peer{Pod: pod}}, s.keys[0], sgx.Report{}, nil)
	return err
}

// expectIdle checks that no request is left in a queue.
func expectIdle(t *testing.T, q *queue) {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.free != q.concurrency || q.waiting != 0 || len(q.peers) != 0 {
		t.Errorf("queue not idle: %d of %d free, %d requests waiting, %d peers", q.free, q.concurrency, q.waiting, len(q.peers))
	}
}

// waitForOne waits until a request waits in a queue.
func waitForOne(q *queue) {
	for waiting := 0; waiting == 0; _, waiting = q.load() {
		runtime.Gosched()
	}
}
