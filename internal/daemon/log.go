package daemon

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/term"
)

// newLogger returns a logger of lines of the given level and above. The format is
// text or json.
func newLogger(w io.Writer, level, format string) *slog.Logger {
	return slog.New(newHandler(w, level, format))
}

func newHandler(w io.Writer, level, format string) slog.Handler {
	options := &slog.HandlerOptions{Level: levels()[level]}
	if format == "text" {
		return slog.NewTextHandler(w, options)
	}
	return slog.NewJSONHandler(w, options)
}

// sourceKey is the key of a context's source.
type sourceKey struct{}

// WithSource returns a context for lines about a client, the source. When the log is
// read too slowly, a source that causes many lines loses its own and not those of
// others.
func WithSource(ctx context.Context, source string) context.Context {
	return context.WithValue(ctx, sourceKey{}, source)
}

// sourceHandler writes records to lines, each with the source of its context.
type sourceHandler struct {
	lines    *lines
	level    slog.Handler // only says what is enabled
	encoders *sync.Pool   // of *encoder
}

// encoder writes records into a buffer.
type encoder struct {
	buffer bytes.Buffer
	slog.Handler
}

func newSourceHandler(l *lines, encode func(io.Writer) slog.Handler) *sourceHandler {
	return &sourceHandler{
		lines: l,
		level: encode(io.Discard),
		encoders: &sync.Pool{New: func() any {
			e := new(encoder)
			e.Handler = encode(&e.buffer)
			return e
		}},
	}
}

func (h *sourceHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.level.Enabled(ctx, level)
}

func (h *sourceHandler) Handle(ctx context.Context, record slog.Record) error {
	e := h.encoders.Get().(*encoder)
	defer h.encoders.Put(e)
	e.buffer.Reset()
	err := e.Handle(ctx, record)
	source, _ := ctx.Value(sourceKey{}).(string)
	h.lines.add(source, e.buffer.Bytes())
	return err
}

func (h *sourceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(e slog.Handler) slog.Handler { return e.WithAttrs(attrs) })
}

func (h *sourceHandler) WithGroup(name string) slog.Handler {
	return h.with(func(e slog.Handler) slog.Handler { return e.WithGroup(name) })
}

// with returns a handler whose encoders are derived from those of h.
func (h *sourceHandler) with(derive func(slog.Handler) slog.Handler) slog.Handler {
	return &sourceHandler{
		lines: h.lines,
		level: h.level,
		encoders: &sync.Pool{New: func() any {
			e := h.encoders.New().(*encoder) // not one that is in use with h
			e.Handler = derive(e.Handler)
			return e
		}},
	}
}

// logFormat returns the format of a log that is written to w: auto is text on a
// terminal and JSON elsewhere.
func logFormat(w io.Writer, format string) string {
	if format != "auto" {
		return format
	}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return "text"
	}
	return "json"
}

// levels returns the values of --log-level.
func levels() map[string]slog.Level {
	return map[string]slog.Level{
		"debug": slog.LevelDebug,
		"info":  slog.LevelInfo,
		"warn":  slog.LevelWarn,
		"error": slog.LevelError,
	}
}
