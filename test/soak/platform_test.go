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

// The stand-ins for a platform, as values of --platform.
const (
	platformNull      = "null"      // signs nothing: has one quote for all
	platformSimulated = "simulated" // signs
	platformSlow      = "slow"      // needs serviceTime for a quote, and no processor
	platformMoody     = "moody"     // does what it is told to
)

// serviceTime is how long the slow platform needs for a quote.
const serviceTime = 5 * time.Millisecond

// newPlatform returns the stand-in of this name. Moody is nil unless it is the
// moody one.
func newPlatform(name string) (p quoting.Backend, moody *moody, err error) {
	real, err := simulated.New("soak")
	if err != nil {
		return nil, nil, err
	}
	if name == platformSimulated {
		return real, nil, nil
	}
	null, err := newNull(real)
	if err != nil {
		return nil, nil, err
	}
	switch name {
	case platformNull:
		return null, nil, nil
	case platformSlow:
		return slow{null}, nil, nil
	case platformMoody:
		moody := newMoody(null)
		return moody, moody, nil
	}
	return nil, nil, fmt.Errorf("there is no platform %q", name)
}

// simulatedReport is one that every simulated platform quotes, 432 bytes.
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

// null has the same quote for everybody.
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

// slow takes its time.
type slow struct{ *null }

func (s slow) Quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	// Timers of Go go by milliseconds: 5 would be 5.6. The kernel's do not.
	pause := unix.NsecToTimespec(int64(serviceTime))
	for unix.Nanosleep(&pause, &pause) == unix.EINTR {
	}
	return s.null.Quote(ctx, report, challenge)
}

// mood is what the moody platform does.
type mood string

const (
	moodGood    mood = "good"
	moodHang    mood = "hang"    // makes no quote until the mood changes
	moodCode    mood = "code"    // fails with codeOfMood
	moodFailure mood = "failure" // fails with an error that is no code
	moodPanic   mood = "panic"
)

const codeOfMood = aesm.CodeNetwork

// moody makes quotes, unless it has another mood.
type moody struct {
	*null

	mu      sync.Mutex
	mood    mood
	changed chan struct{} // closed when the mood changes
	panics  panics
}

// panics are how often the moody platform has panicked.
type panics struct{ Quote, InitQuote int }

func newMoody(n *null) *moody {
	return &moody{null: n, mood: moodGood, changed: make(chan struct{})}
}

// become changes the mood and returns how often it has panicked so far.
func (m *moody) become(next mood) panics {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mood = next
	close(m.changed)
	m.changed = make(chan struct{})
	return m.panics
}

// now is the mood, and what tells that it has changed. A panic is counted there.
func (m *moody) now(panics *int) (mood, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mood == moodPanic {
		*panics++
	}
	return m.mood, m.changed
}

// InitQuote panics in that mood, and works in all others.
func (m *moody) InitQuote(ctx context.Context) (aesm.Initialized, error) {
	if mood, _ := m.now(&m.panics.InitQuote); mood == moodPanic {
		panic("a stand-in for a bug")
	}
	return m.null.InitQuote(ctx)
}

func (m *moody) Quote(ctx context.Context, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	mood, changed := m.now(&m.panics.Quote)
	switch mood {
	case moodHang:
		select {
		case <-ctx.Done():
			return aesm.Quoted{}, ctx.Err()
		case <-changed:
		}
	case moodCode:
		return aesm.Quoted{}, fmt.Errorf("a stand-in for a failure: %w", codeOfMood)
	case moodFailure:
		return aesm.Quoted{}, errors.New("a stand-in for a failure")
	case moodPanic:
		panic("a stand-in for a bug")
	}
	return m.null.Quote(ctx, report, challenge)
}
