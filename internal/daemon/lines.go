package daemon

import (
	"io"
	"sync"
	"time"
)

const (
	// maxPending is how much of the log may wait to be written, in bytes.
	maxPending = 1 << 20
	// writePause is the time between two writes of many lines.
	writePause = time.Millisecond
	// flushTimeout bounds how long the end of the daemon waits for its last lines
	// to be written.
	flushTimeout = time.Second
)

// lines writes a log from a goroutine of its own: a line at once, and all that
// come in the millisecond after it together. So the log costs little where there
// is much of it, and whoever reads it slowly, or not at all, holds up nobody:
// lines that find no room are left out, and counted.
type lines struct {
	w       io.Writer
	leftOut func(n int) []byte // the line that says so

	mu       sync.Mutex
	pending  []byte
	lost     int
	closed   bool
	wake     chan struct{} // that there are lines, or the end
	finished chan struct{} // closed when all is written
}

func newLines(w io.Writer, leftOut func(n int) []byte) *lines {
	l := &lines{w: w, leftOut: leftOut, wake: make(chan struct{}, 1), finished: make(chan struct{})}
	go l.run()
	return l
}

// Write takes a line. Its error is always nil.
func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	if len(l.pending)+len(line) <= maxPending {
		l.pending = append(l.pending, line...)
	} else {
		l.lost++
	}
	l.mu.Unlock()
	l.signal()
	return len(line), nil
}

func (l *lines) signal() {
	select {
	case l.wake <- struct{}{}:
	default: // it was told already
	}
}

// run writes what there is until close.
func (l *lines) run() {
	defer close(l.finished)
	var spare []byte
	for {
		<-l.wake
		l.mu.Lock()
		batch, lost, closed := l.pending, l.lost, l.closed
		l.pending, l.lost = spare[:0], 0
		l.mu.Unlock()
		if lost > 0 {
			batch = append(batch, l.leftOut(lost)...)
		}
		// There is nobody to tell that the log cannot be written.
		_, _ = l.w.Write(batch)
		if closed {
			return
		}
		spare = batch
		time.Sleep(writePause)
	}
}

// close writes what is left, as far as that is possible in a short time. Nothing
// may be written afterwards.
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
