package quoting

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confcom/confcom/aesm"
)

// load is a load that is simulated on fake time: clients that send one request after
// the other, and a backend.
type load struct {
	clients     map[string]int // by pod
	concurrency int
	serial      bool // the backend works on one request at a time, as Intel's daemon
	// service is how long a request takes that comes into service at a time.
	service  func(at time.Duration) time.Duration
	duration time.Duration
}

// outcome is what became of the requests of a pod.
type outcome struct {
	served  []int // in each second
	refused int   // by the queue, when they arrived
	late    int   // by the queue, when their turn came
	expired int   // in the queue or in service
	longest time.Duration
}

func (o outcome) total() (n int) {
	for _, s := range o.served {
		n += s
	}
	return n
}

func constant(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}

// run simulates the load.
func (l load) run(t *testing.T) map[string]outcome {
	t.Helper()
	start := time.Now()
	work := make(chan struct{}, 1)
	backend := &stub{quote: func(ctx context.Context) (aesm.Quoted, error) {
		if l.serial {
			work <- struct{}{}
			defer func() { <-work }()
		}
		select {
		case <-time.After(l.service(time.Since(start))):
			return aesm.Quoted{}, nil
		case <-ctx.Done():
			return aesm.Quoted{}, ctx.Err()
		}
	}}
	s := NewService(backend, l.concurrency, nil)
	ctx, stop := context.WithTimeout(t.Context(), l.duration)
	defer stop()
	var mu sync.Mutex
	outcomes := make(map[string]outcome)
	var running sync.WaitGroup
	client := func(pod string) {
		for ctx.Err() == nil {
			began := time.Now()
			err := quoteAs(ctx, s, pod)
			if ctx.Err() != nil {
				return
			}
			mu.Lock()
			o := outcomes[pod]
			if o.served == nil {
				o.served = make([]int, int(l.duration/time.Second)+1)
			}
			took := time.Since(began)
			over, isOverload := errors.AsType[*overload](err)
			switch {
			case err == nil:
				o.served[int(time.Since(start)/time.Second)]++
			case isOverload && over.wait == 0 && over.left < over.pace:
				o.late++
			case isOverload:
				o.refused++
			case errors.Is(err, context.DeadlineExceeded):
				o.expired++
			default:
				t.Errorf("%s: %v", pod, err)
			}
			o.longest = max(o.longest, took)
			outcomes[pod] = o
			mu.Unlock()
		}
	}
	for pod, clients := range l.clients {
		for range clients {
			running.Go(func() { client(pod) })
		}
	}
	running.Wait()
	synctest.Wait()
	expectIdle(t, s.queue)
	return outcomes
}

// A single pod gets what the backend can make, however many clients it has, and none
// of its requests is refused that can be served in time.
func TestGoodput(t *testing.T) {
	for _, tt := range []struct {
		name        string
		clients     int
		service     time.Duration
		concurrency int
		serial      bool
		refuses     bool
	}{
		{name: "64 clients", clients: 64, service: 5 * time.Millisecond, concurrency: 2, serial: true},
		{name: "400 clients", clients: 400, service: 5 * time.Millisecond, concurrency: 2, serial: true},
		{name: "1000 clients", clients: 1000, service: 5 * time.Millisecond, concurrency: 2, serial: true},
		{name: "1000 clients, four workers", clients: 1000, service: 30 * time.Millisecond, concurrency: 4},
		{name: "1000 clients, just in time", clients: 1000, service: 9 * time.Millisecond, concurrency: 1},
		{name: "400 clients, half of them too many", clients: 400, service: 50 * time.Millisecond, concurrency: 1, refuses: true},
		{name: "1000 clients, most of them too many", clients: 1000, service: 50 * time.Millisecond, concurrency: 2, serial: true, refuses: true},
		{name: "1000 clients, almost all too many", clients: 1000, service: 3 * time.Second, concurrency: 2, refuses: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const duration = 30 * time.Second
				o := load{
					clients: map[string]int{"a": tt.clients}, concurrency: tt.concurrency, serial: tt.serial,
					service: constant(tt.service), duration: duration,
				}.run(t)["a"]
				possible := int(duration / tt.service)
				if !tt.serial {
					possible *= tt.concurrency
				}
				t.Logf("%d of %d possible served, %d refused, %d late, %d expired, longest %s", o.total(), possible, o.refused, o.late, o.expired, o.longest)
				if o.total() < possible*95/100-2*tt.concurrency {
					t.Errorf("%d served, want %d", o.total(), possible)
				}
				if refused := o.refused + o.late + o.expired; refused > 0 != tt.refuses {
					t.Errorf("%d refused, want any: %v", refused, tt.refuses)
				}
				// A client that asks again at once costs at most one refusal per second.
				if most := tt.clients * int(duration/refusalPause); o.refused > most {
					t.Errorf("%d refused on arrival, want at most %d", o.refused, most)
				}
				// Of those that were admitted, few are not served, apart from those that
				// came before the pace was known.
				unknown := tt.service * paceEnough / time.Duration(tt.concurrency)
				if most := tt.clients*(1+int(unknown/Deadline+1)) + possible/20; o.late+o.expired > most {
					t.Errorf("%d late, %d expired: want at most %d", o.late, o.expired, most)
				}
				if o.longest > Deadline {
					t.Errorf("answered after %s", o.longest)
				}
			})
		})
	}
}

// A pod with one client waits at most one turn of the others, even while their
// requests are refused.
func TestGoodputOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const service = 100 * time.Millisecond
		outcomes := load{
			clients: map[string]int{"many": 1000, "some": 20, "one": 1}, concurrency: 1,
			service: constant(service), duration: 30 * time.Second,
		}.run(t)
		one, many := outcomes["one"], outcomes["many"]
		if one.refused+one.late+one.expired > 0 || one.longest > 4*service {
			t.Errorf("a single client: %d refused, %d late, %d expired, longest %s", one.refused, one.late, one.expired, one.longest)
		}
		if some := outcomes["some"]; some.refused+some.late+some.expired > 0 {
			t.Errorf("20 clients: %d refused, %d late, %d expired", some.refused, some.late, some.expired)
		}
		if many.refused+many.late == 0 || many.total() < 90 {
			t.Errorf("1000 clients: %d refused, %d late, %d served", many.refused, many.late, many.total())
		}
	})
}

// The pace follows the backend.
func TestGoodputOfChanges(t *testing.T) {
	const fast, slow = 5 * time.Millisecond, 4 * time.Second
	for _, tt := range []struct {
		name    string
		clients int
		service func(at time.Duration) time.Duration
		from    int // the second from which on the backend is used
		want    float64
		refuses bool
	}{
		{"the first quote fetches certificates", 400, func(at time.Duration) time.Duration {
			if at < time.Second {
				return 5 * time.Second
			}
			return fast
		}, 6, 1 / fast.Seconds(), false},
		{"now and then one takes long", 400, func(at time.Duration) time.Duration {
			if at%(2*time.Second) < fast {
				return 500 * time.Millisecond
			}
			return fast
		}, 1, 0.7 / fast.Seconds(), false},
		{"becomes slow", 400, func(at time.Duration) time.Duration {
			if at < 10*time.Second {
				return fast
			}
			return slow
		}, 30, 0.95 / slow.Seconds(), true},
		{"becomes fast", 400, func(at time.Duration) time.Duration {
			if at > 60*time.Second {
				return fast
			}
			return slow
		}, 75, 0.95 / fast.Seconds(), true},
		{"hangs for a while", 400, func(at time.Duration) time.Duration {
			if at > 10*time.Second && at < 50*time.Second {
				return time.Hour
			}
			return fast
		}, 62, 0.95 / fast.Seconds(), true},
		{"is never in time", 400, constant(time.Minute), 0, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const duration = 100
				o := load{
					clients: map[string]int{"a": tt.clients}, concurrency: 1, service: tt.service, duration: duration * time.Second,
				}.run(t)["a"]
				served := 0
				for _, n := range o.served[tt.from:] {
					served += n
				}
				t.Logf("%d served from second %d on; %d refused, %d late, %d expired, longest %s", served, tt.from, o.refused, o.late, o.expired, o.longest)
				if want := int(tt.want * float64(duration-tt.from)); served < want*98/100-2 {
					t.Errorf("%d served, want %d", served, want)
				}
				if refused := o.refused + o.late + o.expired; refused > 0 != tt.refuses {
					t.Errorf("%d refused, %d late, %d expired, want any: %v", o.refused, o.late, o.expired, tt.refuses)
				}
				if o.longest > Deadline {
					t.Errorf("answered after %s", o.longest)
				}
			})
		})
	}
}

// What a peer may expect depends on its own requests, and on others' for one turn each.
func TestHopeless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		c.serve(t.Context(), "a")
		add := func(peer string, n int) {
			for range n {
				c.add(t.Context(), peer)
			}
		}
		add("a", 30)
		add("b", 30)
		add("c", 2)
		serveTimes(&c.paces[workQuote], paceEnough, time.Second)
		for _, tt := range []struct {
			peer string
			left time.Duration
			want bool
		}{
			{"a", 64 * time.Second, false}, // 30 of its own, 30 of b, 2 of c, and its own service
			{"a", 63 * time.Second, false},
			{"a", 63*time.Second - 1, true},
			{"c", 9 * time.Second, false}, // 2 of its own, 3 of a, 3 of b
			{"c", 9*time.Second - 1, true},
			{"d", 4 * time.Second, false}, // one each
			{"d", 4*time.Second - 1, true},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), tt.left)
			began := time.Now()
			c.mu.Lock()
			p := c.peers[tt.peer]
			if p == nil {
				p = &peerQueue{key: tt.peer}
			}
			err := c.unsatisfiable(p, workQuote, began.Add(tt.left))
			c.mu.Unlock()
			if err != nil != tt.want {
				t.Errorf("%s with %s left: %v, want an error: %v", tt.peer, tt.left, err, tt.want)
			}
			if tt.want {
				waited, err := c.enter(ctx, tt.peer, workQuote)
				if over, ok := errors.AsType[*overload](err); !waited || !ok || over.waiting != 62 {
					t.Errorf("waited: %v, %v", waited, err)
				}
				if d := time.Since(began); d != refusalPause {
					t.Errorf("refused after %s, want %s", d, refusalPause)
				}
			}
			cancel()
		}
		if c.peers["d"] != nil {
			t.Error("a peer that was refused is still remembered")
		}
		c.finish(t, "a")
	})
}

// A flood of requests that need little work makes quotes look neither cheap nor, where it
// waits, expensive.
func TestUnsatisfiableByWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		c.serve(t.Context(), "a")
		serveTimes(&c.paces[workQuote], paceEnough, time.Second)
		serveTimes(&c.paces[workInit], 10*paceWindow, time.Millisecond)
		for range 1000 {
			go c.enter(t.Context(), "init", workInit)
		}
		for range 4 {
			go c.enter(t.Context(), "quotes", workQuote)
		}
		for range 10 {
			go c.enter(t.Context(), "both", workInit)
			go c.enter(t.Context(), "both", workQuote)
		}
		synctest.Wait()
		for _, tt := range []struct {
			peer string
			work work
			wait time.Duration // for the requests before it
		}{
			{"init", workInit, time.Second + 4*time.Second + 10*time.Second + 10*time.Millisecond},
			{"quotes", workQuote, 4*time.Second + 5*time.Millisecond + 5*(time.Second+time.Millisecond)/2},
			{"new", workQuote, time.Second + time.Millisecond + (time.Second+time.Millisecond)/2},
			{"new", workInit, time.Second + time.Millisecond + (time.Second+time.Millisecond)/2},
		} {
			c.mu.Lock()
			p := c.peers[tt.peer]
			if p == nil {
				p = &peerQueue{key: tt.peer}
			}
			if got := c.ahead(p); got != tt.wait {
				t.Errorf("%s waits for %s, want %s", tt.peer, got, tt.wait)
			}
			pace := c.paces[tt.work].perRequest()
			if err := c.unsatisfiable(p, tt.work, time.Now().Add(tt.wait+pace)); err != nil {
				t.Errorf("%s in time: %v", tt.peer, err)
			}
			if err := c.unsatisfiable(p, tt.work, time.Now().Add(tt.wait+pace-1)); err == nil {
				t.Errorf("%s too late: no error", tt.peer)
			}
			c.mu.Unlock()
		}
		for range 1024 {
			c.leave(lastInService(c.queue))
			synctest.Wait()
		}
		c.leave(lastInService(c.queue))
		expectIdle(t, c.queue)
	})
}

// lastInService returns the peer whose request is in service.
func lastInService(q *queue) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key, p := range q.peers {
		if p.inService > 0 {
			return key
		}
	}
	return ""
}

// A request whose turn comes too late gives its turn to the next one.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		c.serve(t.Context(), "a")
		short, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		late := make(chan error, 1)
		go func() {
			_, err := c.enter(short, "b", workQuote)
			late <- err
		}()
		synctest.Wait()
		c.add(t.Context(), "c")
		serveTimes(&c.paces[workQuote], paceEnough, time.Second)
		time.Sleep(time.Second)
		c.leave("a")
		if peer := c.next(); peer != "c" {
			t.Errorf("next turn: %s, want c", peer)
		}
		const want = "cannot be served in time: 1 requests waiting, 0 of them from this caller; estimated wait 0s and service 1s, time left 500ms"
		if err := <-late; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		c.finish(t, "c")
	})
}

// The end of the request ends the pause before a refusal.
func TestPauseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), refusalPause/2)
		defer cancel()
		began := time.Now()
		if pause(ctx); time.Since(began) != refusalPause/2 {
			t.Errorf("after %s", time.Since(began))
		}
	})
}
