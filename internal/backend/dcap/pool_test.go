package dcap

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func anyWorker(*worker) bool { return true }

func not(w *worker) func(*worker) bool { return func(other *worker) bool { return other != w } }

// A worker is one taker's at a time, and goes to the one who has waited longest and
// accepts it.
func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(2)
		a, b := &worker{number: 0}, &worker{number: 1}
		p.add(a)
		p.add(b)
		first, err := p.take(t.Context(), anyWorker)
		if first != a || err != nil {
			t.Fatal(first, err)
		}
		if second, err := p.take(t.Context(), anyWorker); second != b || err != nil {
			t.Fatal(second, err)
		}
		got := make(chan *worker)
		for _, accept := range []func(*worker) bool{not(a), anyWorker} {
			go func() {
				w, err := p.take(t.Context(), accept)
				if err != nil {
					t.Error(err)
				}
				got <- w
			}()
			synctest.Wait()
		}
		p.give(a)
		if w := <-got; w != a {
			t.Error("the first one, who does not accept it, has it")
		}
		p.give(b)
		if w := <-got; w != b {
			t.Error("b went astray")
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.take(ctx, anyWorker); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a third worker: %v", err)
		}
		p.remove(a)
		if p.give(a) || p.size() != 1 {
			t.Error("a worker that was removed came back")
		}
	})
}

// Nobody waits where no worker can come.
func TestHopeless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no library")
		p := newPool(2)
		result := make(chan error, 1)
		wait := func(accept func(*worker) bool) {
			go func() {
				_, err := p.take(t.Context(), accept)
				result <- err
			}()
			synctest.Wait()
		}
		wait(anyWorker)
		p.fail(0, broken)
		select {
		case err := <-result:
			t.Fatalf("%v, though one is on its way", err)
		default:
		}
		p.fail(1, broken)
		if err := <-result; !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		if _, err := p.take(t.Context(), anyWorker); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}

		w := &worker{number: 0}
		p.add(w)
		if _, err := p.take(t.Context(), not(w)); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		if _, err := p.take(t.Context(), anyWorker); err != nil {
			t.Error(err)
		}
		wait(anyWorker) // for w to come back
		p.remove(w)     // a new one is on its way
		select {
		case err := <-result:
			t.Fatalf("%v, though one is on its way", err)
		default:
		}
		p.add(&worker{number: 0})
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}
