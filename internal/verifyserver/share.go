package verifyserver

import (
	"net/netip"
	"sync"
)

// share bounds how many of something there are at a time, in all and for each client.
type share struct {
	all, each int

	mu    sync.Mutex
	total int
	taken map[netip.Addr]int // by client; without zeros
}

// take takes one, and returns a function that gives it back. It reports false if the
// client or all together have as many as they may.
func (s *share) take(client netip.Addr) (giveBack func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= s.all || s.taken[client] >= s.each {
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
