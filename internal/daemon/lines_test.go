package daemon

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func said(n int) []byte { return fmt.Appendf(nil, "%d left out\n", n) }

func TestLinesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := newLines(&out, said)
		var want strings.Builder
		for i := range 100 {
			fmt.Fprintf(&want, "line %d\n", i)
			fmt.Fprintf(l, "line %d\n", i)
			if i%10 == 0 {
				time.Sleep(writePause)
			}
		}
		l.close()
		if out.String() != want.String() {
			t.Errorf("%s", &out)
		}
	})
}

// stuck is a reader of the log that reads nothing until it is told to.
type stuck struct {
	bytes.Buffer
	read chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.read
	return s.Buffer.Write(p)
}

// A log that nobody reads holds up nobody, and says later what it has left out.
func TestLinesThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{read: make(chan struct{})}
		l := newLines(out, said)
		line := []byte(strings.Repeat("x", 1023) + "\n")
		l.Write(line)
		synctest.Wait() // it is being written
		for range maxPending/len(line) + 5 {
			l.Write(line)
		}
		close(out.read)
		l.close()
		if n := strings.Count(out.String(), "x\n"); n != 1+maxPending/len(line) {
			t.Errorf("%d lines were written", n)
		}
		if !strings.HasSuffix(out.String(), "\n5 left out\n") {
			t.Errorf("the end is %q", out.String()[out.Len()-30:])
		}
	})
}

// The end of a daemon does not wait for a log that nobody reads.
func TestLinesAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{read: make(chan struct{})}
		l := newLines(out, said)
		l.Write([]byte("the last\n"))
		began := time.Now()
		l.close()
		if waited := time.Since(began); waited != flushTimeout {
			t.Errorf("it took %s", waited)
		}
		close(out.read)
		<-l.finished
	})
}
