package quoting

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// paceWindow is how many services the pace is computed from, and paceEvery after
	// how many more it is computed again.
	paceWindow = 32
	paceEvery  = 8
	// paceTrim is the divisor for the part of the services that is ignored, the
	// longest. A first quote that fetches certificates, or a worker that hangs once,
	// says nothing about the next requests.
	paceTrim = 4
	// paceEnough is how many services are needed for a pace.
	paceEnough = 16
)

// work is a kind of work for the backend. Each has a pace of its own: to initialize the key
// is usually answered from memory, so a client that requests little else would make quotes
// look cheap.
type work int

const (
	workInit work = iota
	workQuote
	works // how many there are
)

// amounts are numbers of requests, by the work that they are.
type amounts [works]int

// pace measures how long the backend takes for one kind of work: the mean of the last
// services, without the longest. Requests differ, so a median would not do: where half of
// the reports are invalid, it is the time of either.
//
// The zero pace is ready. It is safe for concurrent use.
type pace struct {
	mu     sync.Mutex
	recent [paceWindow]time.Duration
	count  int // of all services

	current atomic.Int64 // in nanoseconds
}

// perRequest returns the pace, 0 if too few services were measured.
func (p *pace) perRequest() time.Duration { return time.Duration(p.current.Load()) }

// served adds a service that took d.
func (p *pace) served(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recent[p.count%paceWindow] = d
	if p.count++; p.count < paceEnough || p.count%paceEvery != 0 {
		return
	}
	measured := p.recent
	last := measured[:min(p.count, paceWindow)]
	slices.Sort(last)
	last = last[:len(last)-len(last)/paceTrim]
	var total time.Duration
	for _, d := range last {
		total += d
	}
	p.current.Store(int64(total) / int64(len(last)))
}

// cutOff adds a service that was not complete after d, when its request's deadline
// expired. It counts as one of twice the pace, or of d if that is longer. Otherwise a
// backend that has become slower would work only on requests with too little time
// left, would complete none of them, and the pace would never show it.
func (p *pace) cutOff(d time.Duration) {
	p.served(min(max(d, 2*p.perRequest()), Deadline))
}
