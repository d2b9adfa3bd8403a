package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// heartbeat is how often a long step speaks up where its line cannot be
// rewritten in place.
const heartbeat = 20 * time.Second

// progress tells a person what is being done and for how long.
type progress struct {
	out      io.Writer
	terminal bool
}

func newProgress(out *os.File) *progress {
	return &progress{out: out, terminal: term.IsTerminal(int(out.Fd()))}
}

func (p *progress) say(format string, args ...any) {
	fmt.Fprintf(p.out, format+"\n", args...)
}

// start announces a step. The function it returns ends the step and must be
// called once.
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
					fmt.Fprintf(p.out, "%s ... still at it after %s\n", step, elapsed())
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
			p.say("%s failed after %s", step, elapsed())
			return
		}
		p.say("%-30s %s", step, time.Since(began).Round(100*time.Millisecond))
	}
}
