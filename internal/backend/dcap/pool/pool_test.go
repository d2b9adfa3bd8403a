package pool

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A worker is leased to one caller at a time: to the one that has waited longest and
// accepts it.
func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool[string, *worker](Options{Places: 2})
		a, b := p.add(0, newWorker("").started()), p.add(1, newWorker("").started())
		first, second := take(t, p, anyWorker), take(t, p, anyWorker)
		if first.Session() != a.session || second.Session() != b.session {
			t.Fatal("the workers are not leased in their order")
		}
		got := make(chan *testLease)
		for _, accept := range []func(candidate) bool{not(a.ID), anyWorker} {
			go func() {
				l, err := p.Take(t.Context(), accept)
				if err != nil {
					t.Error(err)
				}
				got <- l
			}()
			synctest.Wait()
		}
		first.Return()
		first.Return() // has no effect
		if l := <-got; l.Session() != a.session {
			t.Error("the first caller, which does not accept the worker, has it")
		}
		second.Return()
		third := <-got
		if third.Session() != b.session {
			t.Error("the other worker was not leased")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Take(ctx, anyWorker); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a third lease of two workers: %v", err)
		}

		if !third.IsCurrent() {
			t.Error("a worker in its place is not current")
		}
		third.Discard()
		if third.IsCurrent() {
			t.Error("a worker that was discarded is current")
		}
		third.Return()
		if !b.session.finished || p.Len() != 1 || isIdle(p, anyWorker) {
			t.Error("a worker that was discarded is leased again")
		}
	})
}

// Callers do not wait when no worker can come.
func TestUnsatisfiable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no library")
		p := newPool[string, *worker](Options{Places: 2})
		result := make(chan error, 1)
		wait := func(accept func(candidate) bool) {
			go func() {
				_, err := p.Take(t.Context(), accept)
				result <- err
			}()
			synctest.Wait()
		}
		waits := func() {
			t.Helper()
			synctest.Wait()
			select {
			case err := <-result:
				t.Fatalf("got %v, though a worker is being started", err)
			default:
			}
		}
		failed := func(err error) {
			t.Helper()
			if failure, ok := errors.AsType[*StartError](err); !ok || !errors.Is(failure, broken) {
				t.Errorf("got %v", err)
			}
		}
		wait(anyWorker)
		p.fail(0, broken)
		waits()
		p.fail(1, broken)
		failed(<-result)
		_, err := p.Take(t.Context(), anyWorker)
		failed(err)

		m := p.add(0, newWorker("").started())
		_, err = p.Take(t.Context(), not(m.ID))
		failed(err)
		take(t, p, anyWorker)
		wait(anyWorker) // for m to come back
		p.remove(m)     // a new one is being started
		waits()
		m = p.add(0, newWorker("").started())
		if err := <-result; err != nil {
			t.Error(err)
		}
		other := p.add(1, newWorker("").started())
		if _, err := p.Take(t.Context(), func(c candidate) bool { return c.ID != m.ID && c.ID != other.ID }); !errors.Is(err, ErrUnsatisfiable) {
			t.Errorf("got %v, want %v", err, ErrUnsatisfiable)
		}
	})
}

// A caller that does not accept draining workers does not wait for one.
func TestRetainDismisses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool[string, *worker](Options{Places: 1})
		old := p.add(0, newWorker("old").started())
		p.add(0, newWorker("new").started())
		take(t, p, anyWorker)
		result := make(chan error, 1)
		go func() {
			_, err := p.Take(t.Context(), func(c candidate) bool { return c.ID == old.ID && !c.Draining })
			result <- err
		}()
		synctest.Wait()
		if !p.retain(old) {
			t.Error("not retained")
		}
		if err := <-result; !errors.Is(err, ErrUnsatisfiable) {
			t.Errorf("got %v, want %v", err, ErrUnsatisfiable)
		}
	})
}

// Callers that wait for a worker get an error when the pool is closed, and all
// workers are killed.
func TestClose(t *testing.T) {
	run(t, 1, func(t *testing.T, p *testPool, s []*supervisor) {
		lease := take(t, p, anyWorker)
		result := make(chan error, 1)
		go func() {
			_, err := p.Take(t.Context(), anyWorker)
			result <- err
		}()
		synctest.Wait()
		p.Close()
		if err := <-result; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want %v", err, ErrClosed)
		}
		if _, err := p.Take(t.Context(), anyWorker); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want %v", err, ErrClosed)
		}
		if !lease.Session().isGone() {
			t.Error("a leased worker outlives the pool")
		}
		lease.Return()
	})
}
