package certificates

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// provider counts its calls and returns what the test sets.
type provider struct {
	mu      sync.Mutex
	queries []Query
	answer  Answer
	err     error
	slow    chan struct{} // if set, fetch blocks until it is closed
}

func (p *provider) fetch(ctx context.Context, q Query) (Answer, error) {
	p.mu.Lock()
	p.queries = append(p.queries, q)
	answer, err, slow := p.answer, p.err, p.slow
	p.mu.Unlock()
	if slow != nil {
		select {
		case <-slow:
		case <-ctx.Done():
			return Answer{}, ctx.Err()
		}
	}
	return answer, err
}

func (p *provider) set(data Data, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer, p.err = Answer{data, Network}, err
}

// take returns the queries since it was called last.
func (p *provider) take() []Query {
	p.mu.Lock()
	defer p.mu.Unlock()
	queries := p.queries
	p.queries = nil
	return queries
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

// get asks for data as the library does when it initializes its key, and has the library
// return code.
func (c *Cache) get(id ID, ppid string, code quote3.Error) (data Data, err error) {
	err = c.Initialize(func() error {
		if data, err = c.Get(id, []byte(ppid)); err == nil && code != 0 {
			err = code
		}
		return err
	})
	return data, err
}

// chain returns the data of the simulated platform of a node.
func chain(t *testing.T, node string) Data {
	t.Helper()
	data, err := simulatedData(node)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func simulatedData(node string) (d Data, err error) {
	platform, err := simulated.New(node)
	if err != nil {
		return d, err
	}
	initialized, err := platform.InitQuote(context.Background())
	if err != nil {
		return d, err
	}
	report, err := simulation.DefaultCPU().Report(sgx.ReportBody{}, initialized.TargetInfo)
	if err != nil {
		return d, err
	}
	quoted, err := platform.Quote(context.Background(), report, nil)
	if err != nil {
		return d, err
	}
	q, err := quote.Parse(quoted.Quote)
	if err != nil {
		return d, err
	}
	certificates, err := q.Signature.CertificationData.Certificates()
	if err != nil {
		return d, err
	}
	if len(certificates) != chainLength {
		return d, errors.New("not a chain of three")
	}
	for _, c := range certificates {
		d.Chain = append(d.Chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	d.Chain = append(d.Chain, 0) // as Intel's provider ends it
	d.CPUSVN, d.PCESVN, err = TCB(certificates[0])
	return d, err
}
