package daemon

import (
	"io"
	"sync"
	"time"
)

const (
	// maxPending is the maximum size in bytes of the lines that wait to be written.
	maxPending = 1 << 20
	// writePause is the time between two writes under load.
	writePause = time.Millisecond
	// flushTimeout bounds the wait for the last lines to be written when the daemon
	// ends.
	flushTimeout = time.Second
)

// lines writes a log from its own goroutine: a line at once, and all lines of the next
// millisecond together. So a busy log costs little, and a slow or stuck reader blocks
// no one: lines that exceed the buffer are dropped and counted.
type lines struct {
	w       io.Writer
	summary func(dropped int) []byte // a line that reports dropped lines

	mu       sync.Mutex
	pending  []byte
	dropped  int
	closed   bool
	wake     chan struct{} // receives when there are lines, and on close
	finished chan struct{} // closed when everything is written
}

func newLines(w io.Writer, summary func(dropped int) []byte) *lines {
	l := &lines{w: w, summary: summary, wake: make(chan struct{}, 1), finished: make(chan struct{})}
	go l.run()
	return l
}

// Write queues or drops a line. It never fails.
func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	if len(l.pending)+len(line) <= maxPending {
		l.pending = append(l.pending, line...)
	} else {
		l.dropped++
	}
	l.mu.Unlock()
	l.signal()
	return len(line), nil
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
		batch, dropped, closed := l.pending, l.dropped, l.closed
		l.pending, l.dropped = spare[:0], 0
		l.mu.Unlock()
		if dropped > 0 {
			batch = append(batch, l.summary(dropped)...)
		}
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
