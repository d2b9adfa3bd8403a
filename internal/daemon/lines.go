package daemon

import (
	"io"
	"sync"
	"time"
)

const (
	// maxPending is the maximum size in bytes of the lines that wait to be written.
	maxPending = 1 << 20
	// sourceShare is the divisor for one source's part of what the others have left of
	// maxPending. The last quarter is for sources with at most littlePending bytes.
	sourceShare   = 4
	littlePending = 8 << 10
	// maxSources is how many sources the report of dropped lines names.
	maxSources = 20
	// writePause is the time between two writes under load.
	writePause = time.Millisecond
	// flushTimeout bounds the wait for the last lines to be written when the daemon
	// ends.
	flushTimeout = time.Second
)

// lines writes a log from its own goroutine: a line at once, and all lines of the next
// millisecond together. So a busy log costs little, and a slow or stuck reader blocks
// no one: lines that exceed the buffer are dropped and counted.
//
// Lines can have a source: the client that they are about. Each source has a part of the
// buffer, so that one that causes many lines loses its own and not those of others.
type lines struct {
	w       io.Writer
	summary func(source string, dropped int) []byte // a line that reports dropped lines

	mu       sync.Mutex
	pending  []byte
	sources  map[string]int // bytes of pending, by source
	dropped  map[string]int // lines, by source
	closed   bool
	wake     chan struct{} // receives when there are lines, and on close
	finished chan struct{} // closed when everything is written
}

func newLines(w io.Writer, summary func(source string, dropped int) []byte) *lines {
	l := &lines{
		w:        w,
		summary:  summary,
		sources:  make(map[string]int),
		dropped:  make(map[string]int),
		wake:     make(chan struct{}, 1),
		finished: make(chan struct{}),
	}
	go l.run()
	return l
}

// Write queues or drops a line of the daemon itself. It never fails.
func (l *lines) Write(line []byte) (int, error) {
	l.add("", line)
	return len(line), nil
}

// add queues or drops a line of a source, the daemon itself if that is empty.
func (l *lines) add(source string, line []byte) {
	l.mu.Lock()
	switch {
	case l.fits(source, len(line)):
		l.pending = append(l.pending, line...)
		if source != "" {
			l.sources[source] += len(line)
		}
	case l.dropped[source] > 0 || len(l.dropped) < maxSources:
		l.dropped[source]++
	default:
		l.dropped[""]++
	}
	l.mu.Unlock()
	l.signal()
}

// fits reports whether n more bytes of a source may wait.
func (l *lines) fits(source string, n int) bool {
	own, all := l.sources[source]+n, len(l.pending)+n
	switch {
	case source == "" || own <= littlePending:
		return all <= maxPending
	case all > maxPending-maxPending/sourceShare:
		return false
	}
	return own <= (maxPending-all+own)/sourceShare
}

func (l *lines) signal() {
	select {
	case l.wake <- struct{}{}:
	default: // run has not handled the previous signal yet
	}
}

// run writes pending lines until close.
func (l *lines) run() {
	defer close(l.finished)
	var spare []byte
	for {
		<-l.wake
		l.mu.Lock()
		batch, closed := l.pending, l.closed
		for source, n := range l.dropped {
			batch = append(batch, l.summary(source, n)...)
		}
		l.pending = spare[:0]
		clear(l.sources)
		clear(l.dropped)
		l.mu.Unlock()
		_, _ = l.w.Write(batch) // an error of the log cannot be logged
		if closed {
			return
		}
		spare = batch
		time.Sleep(writePause)
	}
}

// close writes the pending lines, but waits no longer than flushTimeout. Write must
// not be called afterwards.
func (l *lines) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.signal()
	select {
	case <-l.finished:
	case <-time.After(flushTimeout):
	}
}
