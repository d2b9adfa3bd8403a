package upstream

import (
	"context"
	"errors"
	"sync"
)

// sizeMemory remembers the length of quotes in bytes, and has one caller ask for
// all when it does not know.
//
// What it says may be out of date, since a daemon can restart between two
// requests. That does no harm: a quote that needs more room is refused, and one
// that needs less shows its length.
type sizeMemory struct {
	mu       sync.Mutex
	size     int       // 0 is not known
	question *question // on its way to the daemon, or nil
}

// question is one caller's, for whose answer others wait.
type question struct {
	done chan struct{} // closed when the fields below are set
	size int
	err  error
}

// get returns the length, and calls ask for it if nobody else does. Others share
// the answer, also if it is a refusal. But if the one who asked got no answer in
// its time, the next one asks. The error is that of ctx if it ends meanwhile.
func (m *sizeMemory) get(ctx context.Context, ask func() (int, error)) (int, error) {
	for {
		size, q, mine := m.look()
		switch {
		case size != 0:
			return size, nil
		case mine:
			return m.settle(q, ask)
		}
		select {
		case <-q.done:
			if !silent(q.err) {
				return q.size, q.err
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// look returns the length if it is known, and otherwise the question whose
// answer will tell it. It is the caller's to ask if it is mine.
func (m *sizeMemory) look() (size int, q *question, mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.size != 0 || m.question != nil {
		return m.size, m.question, false
	}
	m.question = &question{done: make(chan struct{})}
	return 0, m.question, true
}

// settle asks the question and tells everybody. Nobody is left waiting, even if
// ask panics.
func (m *sizeMemory) settle(q *question, ask func() (int, error)) (int, error) {
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.question = nil
		if q.err == nil {
			m.size = q.size
		}
		close(q.done)
	}()
	q.err = errors.New("upstream: asking for the size of a quote has panicked")
	q.size, q.err = ask()
	return q.size, q.err
}

// remember takes note of a length that the daemon has told.
func (m *sizeMemory) remember(size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.size = size
}

// forget makes the next caller ask.
func (m *sizeMemory) forget() { m.remember(0) }

// doubt forgets a length that has proved wrong, unless a newer one is known.
func (m *sizeMemory) doubt(size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.size == size {
		m.size = 0
	}
}
