package fetch

import (
	"bytes"
	"io"
)

// maxLine is how much of a line is kept, in bytes.
const maxLine = 16 << 10

// logFilter passes the log of a process on. Of what is no log, such as the stacks of a
// process that crashes, it keeps the first line: the worker may write only few such
// lines itself.
type logFilter struct {
	to      io.Writer
	partial []byte // a line without its end
	plain   string // the first line that is no log
}

// maxPlain is how much of a line that is no log is kept, in bytes.
const maxPlain = 200

func (l *logFilter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		l.partial = append(l.partial, line[:min(len(line), maxLine-len(l.partial))]...)
		if whole {
			l.end()
		}
		rest = after
	}
	return len(p), nil
}

// end is called at the end of a line.
func (l *logFilter) end() {
	switch {
	case bytes.HasPrefix(l.partial, []byte("{")):
		_, _ = l.to.Write(append(l.partial, '\n')) // as a logger does
	case l.plain == "":
		l.plain = string(l.partial[:min(len(l.partial), maxPlain)])
	}
	l.partial = l.partial[:0]
}
