package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func summary(source string, n int) []byte { return fmt.Appendf(nil, "%d dropped%s\n", n, source) }

// logFile is the destination of a log. Writes block until the file is read.
type logFile struct {
	read  chan struct{} // closed when reading starts
	takes time.Duration // duration of a write

	mu     sync.Mutex
	fails  int // number of writes that fail from now on
	writes []string
}

func newLogFile() *logFile { return &logFile{read: make(chan struct{})} }

// readLogFile returns a file that is read from the start.
func readLogFile() *logFile {
	f := newLogFile()
	close(f.read)
	return f
}

func (f *logFile) Write(p []byte) (int, error) {
	<-f.read
	time.Sleep(f.takes)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails > 0 {
		f.fails--
		return 0, errors.New("broken")
	}
	f.writes = append(f.writes, string(p))
	return len(p), nil
}

// written returns all writes.
func (f *logFile) written() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.writes)
}

func (f *logFile) String() string { return strings.Join(f.written(), "") }

func TestLinesInOrder(t *testing.T) {
	for _, tt := range []struct {
		name  string
		takes time.Duration // duration of a write
	}{
		{"fast file", 0},
		{"slow file", 5 * writePause},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := readLogFile()
				out.takes = tt.takes
				l := newLines(out, summary)
				var want strings.Builder
				for i := range 200 {
					fmt.Fprintf(&want, "line %d\n", i)
					fmt.Fprintf(l, "line %d\n", i)
					if i%10 == 0 {
						time.Sleep(writePause)
					}
				}
				l.close()
				if out.String() != want.String() {
					t.Errorf("%s", out)
				}
			})
		})
	}
}

// A line is written at once, and those that follow soon after it together.
func TestLinesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := readLogFile()
		l := newLines(out, summary)
		defer l.close()
		for _, step := range []struct {
			name  string
			lines []string
			wait  time.Duration
			want  []string // the writes
		}{
			{"the first", []string{"a\n"}, 0, []string{"a\n"}},
			{"two soon after", []string{"b\n", "c\n"}, 0, []string{"a\n"}},
			{"the pause is over", nil, writePause, []string{"a\n", "b\nc\n"}},
			{"no line", nil, time.Hour, []string{"a\n", "b\nc\n"}},
			{"one after a long pause", []string{"d\n"}, 0, []string{"a\n", "b\nc\n", "d\n"}},
		} {
			for _, line := range step.lines {
				l.Write([]byte(line))
			}
			time.Sleep(step.wait)
			synctest.Wait()
			if got := out.written(); !slices.Equal(got, step.want) {
				t.Errorf("%s: %q, want %q", step.name, got, step.want)
			}
		}
	})
}

// Lines of many goroutines stay whole and in each goroutine's order, even if the
// goroutines reuse the memory that they wrote from.
func TestConcurrentLines(t *testing.T) {
	out := readLogFile()
	l := newLines(out, summary)
	const writers, each = 8, 200
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			var line []byte
			for i := range each {
				line = fmt.Appendf(line[:0], "writer %d line %d\n", w, i)
				if n, err := l.Write(line); n != len(line) || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			}
		})
	}
	all.Wait()
	l.close()
	var next [writers]int
	for line := range strings.Lines(out.String()) {
		var w, i int
		if n, err := fmt.Sscanf(line, "writer %d line %d\n", &w, &i); n != 2 || err != nil {
			t.Fatalf("malformed line %q", line)
		}
		if i != next[w] {
			t.Fatalf("line %d of writer %d, want %d", i, w, next[w])
		}
		next[w]++
	}
	for w, n := range next {
		if n != each {
			t.Errorf("%d lines of writer %d", n, w)
		}
	}
}

// A log that is not read does not block its writers. Once it is read, it reports the
// lines that it has dropped, and continues.
func TestLinesNotRead(t *testing.T) {
	const dropped = 5
	line := []byte(strings.Repeat("x", 1023) + "\n")
	room := maxPending / len(line)
	for _, tt := range []struct {
		name string
		then func(l *lines, out *logFile) // what happens to the log afterwards
		want string                       // after the lines that fit into the buffer
	}{
		{"read at the end", func(_ *lines, out *logFile) {
			close(out.read)
		}, "5 dropped\n"},
		{"continues", func(l *lines, out *logFile) {
			close(out.read)
			time.Sleep(2 * writePause)
			fmt.Fprintln(l, "more")
			time.Sleep(2 * writePause)
			fmt.Fprintln(l, "and more")
		}, "5 dropped\nmore\nand more\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := newLogFile()
				l := newLines(out, summary)
				began := time.Now()
				l.Write(line)
				synctest.Wait() // until the line is being written
				for range room + dropped {
					if n, err := l.Write(line); n != len(line) || err != nil {
						t.Errorf("%d, %v", n, err)
					}
				}
				if waited := time.Since(began); waited != 0 {
					t.Errorf("blocked the writer for %s", waited)
				}
				tt.then(l, out)
				time.Sleep(2 * writePause)
				synctest.Wait()
				if want := strings.Repeat(string(line), 1+room) + tt.want; out.String() != want {
					t.Errorf("%d bytes were written, want %d; the end is %q", len(out.String()), len(want), out.String()[max(len(out.String())-30, 0):])
				}
				l.close()
			})
		})
	}
}

// Sources that flood a log that is not read lose their own lines, and no others.
func TestLinesOfSources(t *testing.T) {
	for _, floods := range []int{1, 3, 20} {
		t.Run(fmt.Sprint(floods), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := newLogFile()
				l := newLines(out, summary)
				l.Write([]byte("first\n"))
				synctest.Wait() // until the line is being written
				line := []byte(strings.Repeat("x", 511) + "\n")
				for i := range floods {
					for range maxPending / len(line) {
						l.add(fmt.Sprint(" of ", i), line)
					}
				}
				var want []string
				for i := range 8 {
					quiet := fmt.Sprintf("quote %d\n", i)
					l.add(" of the quiet one", []byte(quiet))
					want = append(want, quiet)
				}
				l.Write([]byte("own\n"))
				want = append(want, "own\n")
				for i := range min(floods, maxSources-1) {
					want = append(want, fmt.Sprintf(" dropped of %d\n", i))
				}
				close(out.read)
				l.close()
				for _, w := range want {
					if !strings.Contains(out.String(), w) {
						t.Errorf("no line %q", w)
					}
				}
				if n := len(out.String()); n > maxPending+4096 {
					t.Errorf("%d bytes were written", n)
				}
			})
		})
	}
}

// The source comes with the context, also through derived loggers.
func TestSourceHandler(t *testing.T) {
	out := readLogFile()
	l := newLines(out, summary)
	log := slog.New(newSourceHandler(l, func(w io.Writer) slog.Handler { return newHandler(w, "info", "json") }))
	ctx := WithSource(t.Context(), "pod/a")
	derived := log.With("x", 1).WithGroup("g").With("y", 2)
	if log.Enabled(ctx, slog.LevelDebug) || !log.Enabled(ctx, slog.LevelInfo) {
		t.Error("enabled at another level")
	}
	derived.InfoContext(ctx, "derived", "z", 3)
	log.Info("plain")
	l.close()
	for _, want := range []string{`"msg":"derived","x":1,"g":{"y":2,"z":3}}`, `"msg":"plain"}`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out)
		}
	}
}

// A line that exceeds the buffer does not push out shorter ones.
func TestLongLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := readLogFile()
		l := newLines(out, summary)
		l.Write(make([]byte, maxPending+1))
		synctest.Wait() // until the summary is written
		fmt.Fprintln(l, "short")
		l.close()
		if want := "1 dropped\nshort\n"; out.String() != want {
			t.Errorf("%q, want %q", out, want)
		}
	})
}

// A failed write loses its lines, but none that follow.
func TestLinesOfBrokenFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := readLogFile()
		out.fails = 1
		l := newLines(out, summary)
		fmt.Fprintln(l, "lost")
		synctest.Wait() // until the write has failed
		fmt.Fprintln(l, "kept")
		l.close()
		if out.String() != "kept\n" {
			t.Errorf("%q", out)
		}
	})
}

// At its end, a daemon waits for a log that is read slowly, but not for one that is
// not read.
func TestLinesAtTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		read   time.Duration // after close was called
		waited time.Duration
	}{
		{"in time", flushTimeout / 2, flushTimeout/2 + writePause},
		{"too late", time.Hour, flushTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := newLogFile()
				l := newLines(out, summary)
				fmt.Fprintln(l, "one before")
				synctest.Wait() // until the line is being written
				fmt.Fprintln(l, "the last")
				began := time.Now()
				time.AfterFunc(tt.read, func() { close(out.read) })
				l.close()
				if waited := time.Since(began); waited != tt.waited {
					t.Errorf("waited %s, want %s", waited, tt.waited)
				}
				<-l.finished
				if want := "one before\nthe last\n"; out.String() != want {
					t.Errorf("%q, want %q", out, want)
				}
			})
		})
	}
}

// A daemon reports dropped lines in the format of its log, at any level.
func TestDroppedLines(t *testing.T) {
	const message = "log lines dropped, reader is too slow"
	count := map[string]func(line string) (lines int, err error){
		"text": func(line string) (int, error) {
			found := regexp.MustCompile(`^time=\S+ level=WARN msg="` + message + `" lines=(\d+)\n$`).FindStringSubmatch(line)
			if found == nil {
				return 0, errors.New("no such line")
			}
			return strconv.Atoi(found[1])
		},
		"json": func(line string) (int, error) {
			var fields struct {
				Level, Msg string
				Lines      int
			}
			err := json.Unmarshal([]byte(line), &fields)
			if err == nil && (fields.Level != "WARN" || fields.Msg != message) {
				err = errors.New("no such line")
			}
			return fields.Lines, err
		},
	}
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			out := newLogFile()
			const logged = 40
			code := program{"sgx-example", "Does one thing.", new(bytes.Buffer), out}.main(t.Context(),
				[]string{"--log-level=error", "--log-format=" + format},
				always(func(_ context.Context, env *Environment) error {
					for range logged {
						env.Log.Error(strings.Repeat("x", maxPending/10))
					}
					close(out.read)
					return nil
				}))
			if code != exitOK {
				t.Errorf("exit %d", code)
			}
			written, dropped := 0, 0
			for line := range strings.Lines(out.String()) {
				if strings.Contains(line, "xxx") {
					written++
					continue
				}
				n, err := count[format](line)
				if err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				dropped += n
			}
			if dropped == 0 || written+dropped != logged {
				t.Errorf("%d lines written and %d dropped, want %d in total", written, dropped, logged)
			}
		})
	}
}
