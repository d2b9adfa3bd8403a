package quoting

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestQueueServesAtOnce(t *testing.T) {
	q := newQueue(2)
	enter := func(peer string) {
		t.Helper()
		if waited, err := q.enter(t.Context(), peer, workQuote); waited || err != nil {
			t.Errorf("waited: %v, %v", waited, err)
		}
	}
	enter("a")
	enter("a")
	if inService, waiting := q.load(); inService != 2 || waiting != 0 {
		t.Errorf("%d in service, %d waiting", inService, waiting)
	}
	q.leave("a")
	enter("b")
	q.leave("a")
	q.leave("b")
	expectIdle(t, q)
}

// crowd is a queue and the requests in it, on fake time.
type crowd struct {
	*queue
	served chan string // receives the peer of each request whose turn it is
}

func newCrowd(concurrency int) *crowd {
	return &crowd{queue: newQueue(concurrency), served: make(chan string, 1)}
}

// add adds a request of each peer, one after another.
func (c *crowd) add(ctx context.Context, peers ...string) {
	for _, peer := range peers {
		go func() {
			if _, err := c.enter(ctx, peer, workQuote); err == nil {
				c.served <- peer
			}
		}()
		synctest.Wait()
	}
}

// serve adds requests that are served at once.
func (c *crowd) serve(ctx context.Context, peers ...string) {
	for _, peer := range peers {
		c.add(ctx, peer)
		<-c.served
	}
}

// next returns the peer whose turn began when the last one ended, "-" if none did.
func (c *crowd) next() string {
	synctest.Wait()
	select {
	case peer := <-c.served:
		return peer
	default:
		return "-"
	}
}

// finish serves all waiting requests, given the peers of those in service, and
// checks that the queue is idle then.
func (c *crowd) finish(t *testing.T, inService ...string) {
	t.Helper()
	for len(inService) > 0 {
		c.leave(inService[0])
		inService = inService[1:]
		if peer := c.next(); peer != "-" {
			inService = append(inService, peer)
		}
	}
	expectIdle(t, c.queue)
}

func TestQueueOrder(t *testing.T) {
	for _, tt := range []struct {
		name      string
		inService string // the peers of the requests in service
		waiting   string // the peers of the waiting requests, in the order of arrival
		leave     string // the peers whose turns end, one after another
		want      string // whose turns begin then; "-" is none
	}{
		{"one peer", "a", "aaa", "aaaa", "aaa-"},
		{"two peers take turns", "a", "aabb", "ababa", "baba-"},
		{"a peer that was never served goes first", "a", "aaab", "abaaa", "baaa-"},
		{"the peer served the longest ago of three", "abc", "ccbbaa", "abcabc", "abcabc"},
		{"the peer with the fewest in service goes first", "aab", "ac", "ba", "ca"},
		{"fewest in service before served the longest ago", "aab", "ab", "bb", "ba"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(len(tt.inService))
				inService := strings.Split(tt.inService, "")
				c.serve(t.Context(), inService...)
				c.add(t.Context(), strings.Split(tt.waiting, "")...)
				got := ""
				for peer := range strings.SplitSeq(tt.leave, "") {
					i := slices.Index(inService, peer)
					if i < 0 {
						t.Fatalf("%s has no request in service; got %s, want %s", peer, got, tt.want)
					}
					inService = slices.Delete(inService, i, i+1)
					c.leave(peer)
					next := c.next()
					if next != "-" {
						inService = append(inService, next)
					}
					got += next
				}
				if got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				c.finish(t, inService...)
			})
		})
	}
}

// A single request is next, however many requests of another peer wait before it.
func TestQueueFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		c.serve(t.Context(), "flood")
		c.add(t.Context(), slices.Repeat([]string{"flood"}, 1000)...)
		c.add(t.Context(), "single")
		c.leave("flood")
		if got := c.next(); got != "single" {
			t.Errorf("next turn: %s", got)
		}
		c.finish(t, "single")
	})
}

// Peers that send one request after another get as many turns as one with many
// waiting requests.
func TestQueueComingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		c.serve(t.Context(), "many")
		c.add(t.Context(), "many", "many", "b", "c")
		turns := map[string]int{}
		current := "many"
		for range 30 {
			c.leave(current)
			c.add(t.Context(), current)
			current = c.next()
			turns[current]++
		}
		for _, peer := range []string{"many", "b", "c"} {
			if turns[peer] != 10 {
				t.Errorf("%s got %d of 30 turns, want 10", peer, turns[peer])
			}
		}
		c.finish(t, current)
	})
}

// The requests of one peer are served in the order in which they arrived.
func TestQueueOrderOfOnePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		q.enter(t.Context(), "a", workQuote)
		served := make(chan int)
		for i := range 3 {
			go func() {
				if _, err := q.enter(t.Context(), "a", workQuote); err != nil {
					t.Error(err)
				}
				served <- i
			}()
			synctest.Wait()
		}
		for want := range 3 {
			q.leave("a")
			if got := <-served; got != want {
				t.Errorf("request %d was served, want %d", got, want)
			}
		}
		q.leave("a")
		expectIdle(t, q)
	})
}

func TestQueueTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		c.serve(t.Context(), "a")
		c.add(t.Context(), "b", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		waited, err := c.enter(ctx, "c", workQuote)
		if !waited || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "wait for the quote backend") {
			t.Errorf("waited: %v, %v", waited, err)
		}
		if c.peers["c"] != nil {
			t.Error("the peer is still remembered")
		}
		if _, waiting := c.load(); waiting != 2 {
			t.Errorf("%d waiting", waiting)
		}
		c.finish(t, "a")
	})
}

// A request that gives up at the moment at which its turn begins, or at which it comes
// too late, leaves nothing behind.
func TestQueueRaces(t *testing.T) {
	for _, tt := range []struct {
		name   string
		moment func(q *queue) // called with the queue locked
		want   error          // if enter returns one
	}{
		{"its turn begins", func(q *queue) { q.leaveLocked("a") }, context.Canceled},
		{"its turn comes too late", func(q *queue) {
			p := q.peers["b"]
			q.remove(p, p.waiting.Back()).outcome <- errQueueTest
			q.tidy(p)
			q.leaveLocked("a")
		}, errQueueTest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// enter selects one of two ready channels at random, so try often.
			for range 200 {
				q := newQueue(1)
				q.enter(t.Context(), "a", workQuote)
				ctx, cancel := context.WithCancel(t.Context())
				result := make(chan error)
				go func() {
					_, err := q.enter(ctx, "b", workQuote)
					result <- err
				}()
				waitForOne(q)
				q.mu.Lock()
				cancel()
				runtime.Gosched()
				tt.moment(q)
				q.mu.Unlock()
				switch err := <-result; {
				case err == nil:
					q.leave("b")
				case !errors.Is(err, tt.want):
					t.Fatal(err)
				}
				expectIdle(t, q)
			}
		})
	}
}

var errQueueTest = errors.New("too late")

// However many requests come and give up, there are never more in service than the
// backend can serve, and in the end none is left.
func TestQueueStress(t *testing.T) {
	const concurrency = 3
	q := newQueue(concurrency)
	var inService atomic.Int32
	var served, givenUp atomic.Int32
	var running sync.WaitGroup
	for i := range 60 {
		running.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			peer := string(rune('a' + i%7))
			for range 40 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(600))*time.Microsecond)
				if _, err := q.enter(ctx, peer, workQuote); err != nil {
					givenUp.Add(1)
				} else {
					if inService.Add(1) > concurrency {
						t.Errorf("more than %d requests in service", concurrency)
					}
					time.Sleep(time.Duration(r.IntN(50)) * time.Microsecond)
					inService.Add(-1)
					served.Add(1)
					q.leave(peer)
				}
				cancel()
			}
		})
	}
	running.Wait()
	if served.Load() == 0 || givenUp.Load() == 0 {
		t.Errorf("%d served, %d given up: one of the two was not tested", served.Load(), givenUp.Load())
	}
	expectIdle(t, q)
}
