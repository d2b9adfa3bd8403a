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
)

// queue shares the slots of the platform between the peers that call. A slot
// that becomes free goes to the peer that has the fewest others, and of those to
// the one that was served the longest ago. So who calls seldom waits for no more
// than what is being served, and who calls often waits behind himself.
type queue struct {
	mu      sync.Mutex
	slots   int
	free    int
	waiting int
	turn    uint64 // counts the slots that were given
	lines   map[string]*line
}

// line is what one peer has in the queue. There is one while it has anything, and
// then for as long as it matters when that was: otherwise one who asks again as
// soon as he is answered would always be one who never had a turn.
type line struct {
	waiting  list.List // of chan error, each with room for one: nil for a slot
	serving  int       // slots that the peer has
	lastTurn uint64    // when it got the last one
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
		l = new(line)
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
		q.tidy()
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
		q.tidy()
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
	l.serving--
	if next := q.next(); next != nil {
		verdict := next.waiting.Remove(next.waiting.Front()).(chan error)
		q.waiting--
		q.serve(next)
		verdict <- nil
	} else {
		q.free++
	}
	q.tidy()
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
	l.lastTurn = q.turn
}

// tidy forgets the lines that have nothing, and had no turn or had it before all
// that wait.
func (q *queue) tidy() {
	before := q.turn + 1
	for _, l := range q.lines {
		if l.waiting.Len() > 0 {
			before = min(before, l.lastTurn)
		}
	}
	for peer, l := range q.lines {
		if l.serving == 0 && l.waiting.Len() == 0 && (l.lastTurn == 0 || l.lastTurn < before) {
			delete(q.lines, peer)
		}
	}
}

// load tells how many slots are taken and how many requests wait for one.
func (q *queue) load() (taken, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.slots - q.free, q.waiting
}
