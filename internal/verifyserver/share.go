package verifyserver

import (
	"net/netip"
	"sync"
)

// share bounds how many of something there are at a time, in all and for each client. A
// client may take half of what is left and one more, so that a few clients which take all
// they can leave some to others.
type share struct {
	all, each int

	mu    sync.Mutex
	total int
	taken map[netip.Addr]int // by client; without zeros
}

// has reports whether a client can take one.
func (s *share) has(client netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hasLocked(client)
}

func (s *share) hasLocked(client netip.Addr) bool {
	return s.total < s.all && s.taken[client] < min(s.each, (s.all-s.total)/2+1)
}

// take takes one, and returns a function that gives it back. It reports false if the
// client or all together have as many as they may.
func (s *share) take(client netip.Addr) (giveBack func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hasLocked(client) {
		return nil, false
	}
	if s.taken == nil {
		s.taken = make(map[netip.Addr]int)
	}
	s.total++
	s.taken[client]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.total--
		if s.taken[client]--; s.taken[client] == 0 {
			delete(s.taken, client)
		}
	}), true
}
