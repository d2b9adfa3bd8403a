package soak

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/sgx"
)

// The backends of the helper under test, as values of --platform.
const (
	backendNull      = "null"      // returns the same quote for all requests, without signing
	backendSimulated = "simulated" // signs
	backendSlow      = "slow"      // takes serviceTime for a quote, without using CPU
	backendFailing   = "failing"   // fails on demand
)

// serviceTime is how long the slow backend takes for a quote.
const serviceTime = 5 * time.Millisecond

// newBackend returns the backend with this name. If it is the failing one, it is also
// returned as such.
func newBackend(name string) (b quoting.Backend, f *failing, err error) {
	real, err := simulated.New("soak")
	if err != nil {
		return nil, nil, err
	}
	if name == backendSimulated {
		return real, nil, nil
	}
	null, err := newNull(real)
	if err != nil {
		return nil, nil, err
	}
	switch name {
	case backendNull:
		return null, nil, nil
	case backendSlow:
		return slow{null}, nil, nil
	case backendFailing:
		f := newFailing(null)
		return f, f, nil
	}
	return nil, nil, fmt.Errorf("unknown backend %q", name)
}

// simulatedReport returns a report that the simulated, the null and the slow backend
// accept, of 432 bytes.
func simulatedReport(t testing.TB) []byte {
	t.Helper()
	p, err := simulated.New("soak")
	if err != nil {
		t.Fatal(err)
	}
	ready, err := p.InitQuote(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	report, err := p.Report(ready.TargetInfo)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := report.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// null returns the same quote for all reports.
type null struct {
	*simulated.Backend
	quoted aesm.Quoted
}

func newNull(p *simulated.Backend) (*null, error) {
	ready, err := p.InitQuote(context.Background())
	if err != nil {
		return nil, err
	}
	report, err := p.Report(ready.TargetInfo)
	if err != nil {
		return nil, err
	}
	quoted, err := p.Quote(context.Background(), report, nil)
	return &null{p, quoted}, err
}

func (n *null) Quote(context.Context, sgx.Report, *aesm.Challenge) (aesm.Quoted, error) {
	return n.quoted, nil
}

// slow takes serviceTime for a quote.
type slow struct{ *null }

func (s slow) Quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	// A Go timer of 5 ms would take about 5.6 ms; the kernel's is more exact.
	pause := unix.NsecToTimespec(int64(serviceTime))
	for unix.Nanosleep(&pause, &pause) == unix.EINTR {
	}
	return s.null.Quote(ctx, report, challenge)
}

// failureMode is how the failing backend fails.
type failureMode string

const (
	modeNone  failureMode = "none"  // works
	modeHang  failureMode = "hang"  // makes no quote until the mode changes
	modeCode  failureMode = "code"  // fails with failureCode
	modeError failureMode = "error" // fails with an error without a code
	modePanic failureMode = "panic"
)

const failureCode = aesm.CodeNetwork

// failing is a backend that fails as its failure mode says.
type failing struct {
	*null

	mu      sync.Mutex
	mode    failureMode
	changed chan struct{} // closed when the mode changes
	panics  panics
}

// panics counts the panics of the failing backend.
type panics struct{ Quote, InitQuote int }

func newFailing(n *null) *failing {
	return &failing{null: n, mode: modeNone, changed: make(chan struct{})}
}

// setMode sets the failure mode and returns the number of panics so far.
func (f *failing) setMode(mode failureMode) panics {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode = mode
	close(f.changed)
	f.changed = make(chan struct{})
	return f.panics
}

// current returns the failure mode, and a channel that is closed when it changes. If the
// mode is to panic, current counts that.
func (f *failing) current(panics *int) (failureMode, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mode == modePanic {
		*panics++
	}
	return f.mode, f.changed
}

// InitQuote works in all failure modes but panic.
func (f *failing) InitQuote(ctx context.Context) (aesm.Initialized, error) {
	if mode, _ := f.current(&f.panics.InitQuote); mode == modePanic {
		panic("injected panic")
	}
	return f.null.InitQuote(ctx)
}

func (f *failing) Quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	mode, changed := f.current(&f.panics.Quote)
	switch mode {
	case modeHang:
		select {
		case <-ctx.Done():
			return aesm.Quoted{}, ctx.Err()
		case <-changed:
		}
	case modeCode:
		return aesm.Quoted{}, fmt.Errorf("injected failure: %w", failureCode)
	case modeError:
		return aesm.Quoted{}, errors.New("injected failure")
	case modePanic:
		panic("injected panic")
	}
	return f.null.Quote(ctx, report, challenge)
}
