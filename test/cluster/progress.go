package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// heartbeat is the time between two lines of a long step if the output is not a
// terminal, where a line cannot be rewritten in place.
const heartbeat = 20 * time.Second

// progress prints which step is running and for how long.
type progress struct {
	out      io.Writer
	terminal bool
}

func newProgress(out *os.File) *progress {
	return &progress{out: out, terminal: term.IsTerminal(int(out.Fd()))}
}

// print prints a line.
func (p *progress) print(format string, args ...any) {
	fmt.Fprintf(p.out, format+"\n", args...)
}

// start prints that a step starts. The caller must call done once, when the step ends.
func (p *progress) start(step string) (done func(error)) {
	began := time.Now()
	elapsed := func() string { return time.Since(began).Round(time.Second).String() }
	every := heartbeat
	if p.terminal {
		every = time.Second
		fmt.Fprintf(p.out, "%s ...", step)
	} else {
		fmt.Fprintf(p.out, "%s ...\n", step)
	}

	stop := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				if p.terminal {
					fmt.Fprintf(p.out, "\r\033[K%s ... %s", step, elapsed())
				} else {
					fmt.Fprintf(p.out, "%s ... still running after %s\n", step, elapsed())
				}
			}
		}
	})
	return func(err error) {
		close(stop)
		ticking.Wait()
		if p.terminal {
			fmt.Fprint(p.out, "\r\033[K")
		}
		if err != nil {
			p.print("%s: failed after %s", step, elapsed())
			return
		}
		p.print("%-36s %s", step, time.Since(began).Round(100*time.Millisecond))
	}
}
