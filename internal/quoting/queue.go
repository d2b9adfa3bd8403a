package quoting

import (
	"container/list"
	"context"
	"fmt"
	"sync"
)

// How many requests may wait for a slot of the platform: of all peers, and of one.
// A platform that needs 5 ms for a quote has served 256 in little more than a
// second. Where all places are taken, a peer that has few gets one of the peer
// that has the most.
const (
	maxWaiting     = 1024
	maxWaitingPeer = 256

	// maxLines is how many peers are remembered, unless more of them wait. A node
	// has some hundred pods.
	maxLines = 2048
)

// queue shares the slots of the platform between the peers that call. A slot
// that becomes free goes to the peer that has the fewest others, and of those to
// the one that was served the longest ago. So who calls seldom waits for what is
// being served and for one turn of each other peer at most, and who calls often
// waits behind himself.
type queue struct {
	mu      sync.Mutex
	slots   int
	free    int
	waiting int
	turn    uint64 // counts the slots that were given and the peers that came
	lines   map[string]*line
}

// line is what one peer has in the queue. There is one while it has anything or,
// to remember its turn, anyone waits.
type line struct {
	waiting  list.List // of chan error, each with room for one: nil for a slot
	serving  int       // slots that the peer has
	lastTurn uint64    // when it got the last one, or came
	served   bool      // it has had one
}

func newQueue(slots int) *queue {
	return &queue{slots: slots, free: slots, lines: make(map[string]*line)}
}

// enter waits for a slot, which leave gives back. It says whether it had to
// wait. The error is that of ctx, or that too many wait.
func (q *queue) enter(ctx context.Context, peer string) (waited bool, err error) {
	q.mu.Lock()
	l := q.lines[peer]
	if l == nil {
		// As if it had just had a turn: callers who are new each time would go before
		// all others otherwise.
		q.turn++
		l = &line{lastTurn: q.turn}
		q.lines[peer] = l
	}
	if q.free > 0 {
		q.free--
		q.serve(l)
		q.mu.Unlock()
		return false, nil
	}
	if !q.makeRoom(l) {
		err := q.full(l)
		q.tidy(peer, l)
		q.mu.Unlock()
		return true, err
	}
	verdict := make(chan error, 1)
	place := l.waiting.PushBack(verdict)
	q.waiting++
	q.mu.Unlock()

	select {
	case err := <-verdict:
		return true, err
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case err := <-verdict: // it came in this moment
		if err != nil {
			return true, err
		}
		q.leaveLocked(peer)
	default:
		l.waiting.Remove(place)
		q.waiting--
		q.tidy(peer, l)
	}
	return true, fmt.Errorf("no slot of the platform came free: %w", ctx.Err())
}

// makeRoom tells whether one more may wait in a line. Where all places are taken,
// the last one in the longest line has to go, unless this is it.
func (q *queue) makeRoom(l *line) bool {
	if l.waiting.Len() >= maxWaitingPeer {
		return false
	}
	if q.waiting < maxWaiting {
		return true
	}
	longest := l
	for _, other := range q.lines {
		if other.waiting.Len() > longest.waiting.Len() {
			longest = other
		}
	}
	if longest.waiting.Len() <= l.waiting.Len()+1 {
		return false
	}
	err := q.full(longest)
	longest.waiting.Remove(longest.waiting.Back()).(chan error) <- err
	q.waiting--
	return true
}

// full says why a request of a line has no place.
func (q *queue) full(l *line) error {
	return fmt.Errorf("%d requests wait already, %d of them of this caller", q.waiting, l.waiting.Len())
}

// leave gives a slot back: to the next in turn.
func (q *queue) leave(peer string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leaveLocked(peer)
}

func (q *queue) leaveLocked(peer string) {
	l := q.lines[peer]
	// It still counts as the peer's own: with one slot, another's turn is next.
	if next := q.next(); next != nil {
		verdict := next.waiting.Remove(next.waiting.Front()).(chan error)
		q.waiting--
		q.serve(next)
		verdict <- nil
	} else {
		q.free++
	}
	l.serving--
	q.tidy(peer, l)
}

// next returns the line whose turn it is, nil where none waits. A node has at
// most some hundred pods, so they are simply all looked at.
func (q *queue) next() *line {
	var best *line
	if q.waiting == 0 {
		return nil
	}
	for _, l := range q.lines {
		if l.waiting.Len() > 0 && (best == nil || l.serving < best.serving ||
			l.serving == best.serving && l.lastTurn < best.lastTurn) {
			best = l
		}
	}
	return best
}

func (q *queue) serve(l *line) {
	l.serving++
	q.turn++
	l.lastTurn, l.served = q.turn, true
}

// tidy forgets the line of a peer that has nothing and had no turn, and those of
// all that have nothing when nobody waits or there are too many.
func (q *queue) tidy(peer string, l *line) {
	if l.empty() && !l.served {
		delete(q.lines, peer)
	}
	if q.waiting > 0 && len(q.lines) <= maxLines {
		return
	}
	for peer, l := range q.lines {
		if l.empty() {
			delete(q.lines, peer)
		}
	}
}

func (l *line) empty() bool { return l.serving == 0 && l.waiting.Len() == 0 }

// load tells how many slots are taken and how many requests wait for one.
func (q *queue) load() (taken, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.slots - q.free, q.waiting
}
