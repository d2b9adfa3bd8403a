package quoting

import (
	"context"
	"errors"
	"fmt"
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

func TestQueueFreeSlotAtOnce(t *testing.T) {
	q := newQueue(2)
	enter := func(peer string) {
		t.Helper()
		if waited, err := q.enter(t.Context(), peer); waited || err != nil {
			t.Errorf("waited: %v, %v", waited, err)
		}
	}
	enter("a")
	enter("a")
	if taken, waiting := q.load(); taken != 2 || waiting != 0 {
		t.Errorf("%d slots are taken, %d wait", taken, waiting)
	}
	q.leave("a")
	enter("b")
	q.leave("a")
	q.leave("b")
	expectIdle(t, q)
}

// crowd are those who wait in a queue, on fake time.
type crowd struct {
	*queue
	served chan string   // receives the peer of each request that gets a slot
	failed chan turnaway // receives each request that gets none
	came   int
}

// turnaway is a request that got no slot.
type turnaway struct {
	peer string
	came int // how many had come before it
}

func newCrowd(slots int) *crowd {
	return &crowd{queue: newQueue(slots), served: make(chan string, 1), failed: make(chan turnaway, 2*maxWaiting)}
}

// add has a request of each peer come, one after another.
func (c *crowd) add(ctx context.Context, peers ...string) {
	for _, peer := range peers {
		came := c.came
		c.came++
		go func() {
			if _, err := c.enter(ctx, peer); err != nil {
				c.failed <- turnaway{peer, came}
				return
			}
			c.served <- peer
		}()
		synctest.Wait()
	}
}

// serve has requests come that get a slot at once.
func (c *crowd) serve(ctx context.Context, peers ...string) {
	for _, peer := range peers {
		c.add(ctx, peer)
		<-c.served
	}
}

// next is the peer that has got the slot that was given back last, "-" if none has.
func (c *crowd) next() string {
	synctest.Wait()
	select {
	case peer := <-c.served:
		return peer
	default:
		return "-"
	}
}

// finish serves all who wait, given those who have a slot, and expects that
// nothing is left of them.
func (c *crowd) finish(t *testing.T, serving ...string) {
	t.Helper()
	for len(serving) > 0 {
		c.leave(serving[0])
		serving = serving[1:]
		if peer := c.next(); peer != "-" {
			serving = append(serving, peer)
		}
	}
	expectIdle(t, c.queue)
}

func TestQueueOrder(t *testing.T) {
	for _, tt := range []struct {
		name    string
		serving string // the peers that have a slot
		waiting string // the peers that wait, in the order in which they came
		leave   string // the peers that give a slot back, one after another
		want    string // who gets each; "-" is nobody
	}{
		{"one peer", "a", "aaa", "aaaa", "aaa-"},
		{"two take turns", "a", "aabb", "ababa", "baba-"},
		{"who has never been served goes first", "a", "aaab", "abaaa", "baaa-"},
		{"the longest ago of three", "abc", "ccbbaa", "abcabc", "abcabc"},
		{"the fewest slots count first", "aab", "ac", "ba", "ca"},
		{"and more than how long ago it was", "aab", "ab", "bb", "ba"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(len(tt.serving))
				serving := strings.Split(tt.serving, "")
				c.serve(t.Context(), serving...)
				c.add(t.Context(), strings.Split(tt.waiting, "")...)
				got := ""
				for peer := range strings.SplitSeq(tt.leave, "") {
					i := slices.Index(serving, peer)
					if i < 0 {
						t.Fatalf("%s has no slot to give back; got %s, want %s", peer, got, tt.want)
					}
					serving = slices.Delete(serving, i, i+1)
					c.leave(peer)
					next := c.next()
					if next != "-" {
						serving = append(serving, next)
					}
					got += next
				}
				if got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				c.finish(t, serving...)
			})
		})
	}
}

// One request is the next, however many another peer has queued before it.
func TestQueueFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		c.serve(t.Context(), "flood")
		c.add(t.Context(), slices.Repeat([]string{"flood"}, maxWaitingPeer)...)
		c.add(t.Context(), "single")
		c.leave("flood")
		if got := c.next(); got != "single" {
			t.Errorf("the next is %s", got)
		}
		c.finish(t, "single")
	})
}

// Peers that ask again as soon as they are served, one request at a time, share
// the slots with one that has many waiting.
func TestQueueComingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		c.serve(t.Context(), "many")
		c.add(t.Context(), "many", "many", "b", "c")
		turns := map[string]int{}
		serving := "many"
		for range 30 {
			c.leave(serving)
			c.add(t.Context(), serving)
			serving = c.next()
			turns[serving]++
		}
		for _, peer := range []string{"many", "b", "c"} {
			if turns[peer] != 10 {
				t.Errorf("%s had %d turns of 30", peer, turns[peer])
			}
		}
		c.finish(t, serving)
	})
}

func TestQueueBoundOfPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		c.serve(t.Context(), "a")
		c.add(t.Context(), slices.Repeat([]string{"a"}, maxWaitingPeer)...)
		began := time.Now()
		_, err := c.enter(t.Context(), "a")
		if want := "256 requests wait already, 256 of them of this caller"; err == nil || err.Error() != want {
			t.Errorf("one more: %v, want %s", err, want)
		}
		if !began.Equal(time.Now()) {
			t.Error("it had to wait for that")
		}
		c.add(t.Context(), "b") // others may
		if _, waiting := c.load(); waiting != maxWaitingPeer+1 {
			t.Errorf("%d wait", waiting)
		}
		c.finish(t, "a")
	})
}

// Where all places are taken, who has few gets some of those who have the most,
// the last of each, until all have the same.
func TestQueueBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		peers := []string{"a", "b", "c", "d"}
		c.serve(t.Context(), "a")
		last := map[string]int{} // who came last, and has not lost its place
		for _, peer := range peers {
			c.add(t.Context(), slices.Repeat([]string{peer}, maxWaitingPeer)...)
			last[peer] = c.came - 1
		}
		if _, waiting := c.load(); waiting != maxWaiting || len(c.failed) > 0 {
			t.Fatalf("%d wait, %d do not", waiting, len(c.failed))
		}

		fair := maxWaiting / (len(peers) + 1)
		c.add(t.Context(), slices.Repeat([]string{"late"}, fair)...)
		lost := map[string]int{}
		for range fair {
			f := <-c.failed
			if f.came != last[f.peer] {
				t.Errorf("%s loses its place for request %d, not for %d", f.peer, f.came, last[f.peer])
			}
			last[f.peer]--
			lost[f.peer]++
		}
		for _, peer := range peers {
			if lost[peer] != fair/len(peers) {
				t.Errorf("%s has lost %d places", peer, lost[peer])
			}
		}
		c.add(t.Context(), "late")
		if f := <-c.failed; f.peer != "late" {
			t.Errorf("%s has lost a place, though it has no more than others", f.peer)
		}
		if _, waiting := c.load(); waiting != maxWaiting {
			t.Errorf("%d wait", waiting)
		}
		c.finish(t, "a")
	})
}

// Where all places are taken by peers that have one each, nobody has too many.
func TestQueueBoundOfManyPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		c.serve(t.Context(), "a")
		for i := range maxWaiting {
			c.add(t.Context(), fmt.Sprint(i))
		}
		_, err := c.enter(t.Context(), "late")
		if want := "1024 requests wait already, 0 of them of this caller"; err == nil || err.Error() != want {
			t.Errorf("one more: %v, want %s", err, want)
		}
		if c.lines["late"] != nil || len(c.failed) > 0 {
			t.Errorf("its line is there: %v, %d have lost their place", c.lines["late"] != nil, len(c.failed))
		}
		c.finish(t, "a")
	})
}

// The requests of one peer are served in the order in which they came.
func TestQueueOrderOfOnePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		q.enter(t.Context(), "a")
		served := make(chan int)
		for i := range 3 {
			go func() {
				if _, err := q.enter(t.Context(), "a"); err != nil {
					t.Error(err)
				}
				served <- i
			}()
			synctest.Wait()
		}
		for want := range 3 {
			q.leave("a")
			if got := <-served; got != want {
				t.Errorf("request %d has the turn of request %d", got, want)
			}
		}
		q.leave("a")
		expectIdle(t, q)
	})
}

func TestQueueGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		c.serve(t.Context(), "a")
		c.add(t.Context(), "b", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		waited, err := c.enter(ctx, "c")
		if !waited || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no slot") {
			t.Errorf("waited: %v, %v", waited, err)
		}
		if c.lines["c"] != nil {
			t.Error("its line is still there")
		}
		if _, waiting := c.load(); waiting != 2 {
			t.Errorf("%d wait", waiting)
		}
		c.finish(t, "a")
	})
}

// Whoever gives up in the very moment in which it gets a slot, or loses its
// place, leaves nothing behind.
func TestQueueGivenUpInTheMoment(t *testing.T) {
	for _, tt := range []struct {
		name   string
		moment func(q *queue) // with the queue locked
		want   error          // where it is noticed
	}{
		{"of its slot", func(q *queue) { q.leaveLocked("a") }, context.Canceled},
		{"of its loss", func(q *queue) {
			l := q.lines["b"]
			l.waiting.Remove(l.waiting.Back()).(chan error) <- errQueueTest
			q.waiting--
			q.tidy("b", l) // the line of one that loses its place has others, this one has none
			q.leaveLocked("a")
		}, errQueueTest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Which of the two it notices first is up to chance, so it is tried often.
			for range 200 {
				q := newQueue(1)
				q.enter(t.Context(), "a")
				ctx, cancel := context.WithCancel(t.Context())
				result := make(chan error)
				go func() {
					_, err := q.enter(ctx, "b")
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

var errQueueTest = errors.New("the place was lost")

// No slot is lost, and none is given twice, however many come and give up.
func TestQueueStress(t *testing.T) {
	const slots = 3
	q := newQueue(slots)
	var serving atomic.Int32
	var served, givenUp atomic.Int32
	var running sync.WaitGroup
	for i := range 60 {
		running.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			peer := string(rune('a' + i%7))
			for range 40 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(600))*time.Microsecond)
				if _, err := q.enter(ctx, peer); err != nil {
					givenUp.Add(1)
				} else {
					if serving.Add(1) > slots {
						t.Error("more are served than there are slots")
					}
					time.Sleep(time.Duration(r.IntN(50)) * time.Microsecond)
					serving.Add(-1)
					served.Add(1)
					q.leave(peer)
				}
				cancel()
			}
		})
	}
	running.Wait()
	if served.Load() == 0 || givenUp.Load() == 0 {
		t.Errorf("%d were served, %d gave up: one of them was not tried", served.Load(), givenUp.Load())
	}
	expectIdle(t, q)
}
