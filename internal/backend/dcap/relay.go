package dcap

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// maxLine is the longest line of a worker's log that is kept whole, in bytes.
const maxLine = 16 << 10

// maxPlain is how many lines are relayed that are none of a log: the last words of
// a process that crashes can be many.
const maxPlain = 20

// relay writes the log of a worker into that of the helper until it ends, and
// returns why it has, if it said so: the last error in its log, or else the first
// line that is none of a log.
func relay(log *slog.Logger, output io.ReadCloser) (why string) {
	defer output.Close()
	var lastError, firstPlain string
	plain := 0
	in := bufio.NewReaderSize(output, maxLine)
	for {
		line, isPrefix, err := in.ReadLine()
		if err != nil {
			return cmp.Or(lastError, firstPlain)
		}
		line = slices.Clone(line)    // which the next read overwrites
		for isPrefix && err == nil { // the rest of a long line
			_, isPrefix, err = in.ReadLine()
		}
		var fields map[string]any
		switch {
		case len(line) == 0:
		case json.Unmarshal(line, &fields) == nil:
			lastError = cmp.Or(relayLine(log, fields), lastError)
		default:
			firstPlain = cmp.Or(firstPlain, string(line))
			if plain++; plain <= maxPlain {
				log.Warn("worker says", "text", string(line))
			}
		}
	}
}

// relayLine writes a line of a log, and returns the error in it if it is at ERROR.
func relayLine(log *slog.Logger, fields map[string]any) (text string) {
	var level slog.Level
	if name, ok := fields[slog.LevelKey].(string); ok {
		_ = level.UnmarshalText([]byte(name)) // INFO where it is no level
	}
	message, _ := fields[slog.MessageKey].(string)
	if level == slog.LevelError {
		if text, _ = fields["error"].(string); text == "" {
			text = message
		}
		level = slog.LevelWarn // it is not the helper that cannot go on
	}
	switch message {
	case "starting", "stopping", "stopped", "cannot go on":
		// Of these, the helper has a line of its own.
		level = slog.LevelDebug
	}
	if !log.Enabled(context.Background(), level) {
		return text
	}
	record := slog.NewRecord(time.Now(), level, "worker: "+message, 0)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		switch key {
		case slog.LevelKey, slog.MessageKey, slog.TimeKey:
		default:
			record.AddAttrs(slog.Any(key, fields[key]))
		}
	}
	_ = log.Handler().Handle(context.Background(), record) // as loggers do
	return text
}
