package dcap

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// maxLine is how much of a line of a worker's log is kept, in bytes.
const maxLine = 16 << 10

// maxPlain is how many lines are relayed that are not JSON: a process that crashes may
// write many.
const maxPlain = 20

// relay writes the log of a worker into that of the helper until it ends. It returns
// the last error in it, or else the first line that is not JSON.
func relay(log *slog.Logger, output io.ReadCloser) (lastError string) {
	defer output.Close()
	var firstPlain string
	plain := 0
	in := bufio.NewReaderSize(output, maxLine)
	for {
		line, isPrefix, err := in.ReadLine()
		if err != nil {
			return cmp.Or(lastError, firstPlain)
		}
		line = slices.Clone(line)    // the next read overwrites it
		for isPrefix && err == nil { // skip the rest of a long line
			_, isPrefix, err = in.ReadLine()
		}
		var fields map[string]any
		switch {
		case len(line) == 0:
		case parseLine(line, &fields) == nil:
			lastError = cmp.Or(relayLine(log, fields), lastError)
		default:
			firstPlain = cmp.Or(firstPlain, string(line))
			if plain++; plain <= maxPlain {
				log.Warn("worker output", "text", string(line))
			}
		}
	}
}

// parseLine reads a line of a log, with its numbers as they are written.
func parseLine(line []byte, fields *map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(fields); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// attribute returns an attribute of a line as the worker has logged it. In JSON, durations
// are numbers of nanoseconds.
func attribute(key string, value any) slog.Attr {
	number, isNumber := value.(json.Number)
	n, err := number.Int64()
	switch {
	case !isNumber || err != nil:
		return slog.Any(key, value)
	case key == "duration" || key == "next":
		return slog.Duration(key, time.Duration(n))
	}
	return slog.Int64(key, n)
}

// relayLine writes a line of a log, and returns its error if its level is ERROR.
func relayLine(log *slog.Logger, fields map[string]any) (text string) {
	var level slog.Level
	if name, ok := fields[slog.LevelKey].(string); ok {
		_ = level.UnmarshalText([]byte(name)) // INFO if it is not a level
	}
	message, _ := fields[slog.MessageKey].(string)
	if level == slog.LevelError {
		if text, _ = fields["error"].(string); text == "" {
			text = message
		}
		level = slog.LevelWarn // the helper itself continues
	}
	switch message {
	case "starting", "stopping", "stopped", "exiting on error":
		// The helper has its own line for these.
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
			record.AddAttrs(attribute(key, fields[key]))
		}
	}
	_ = log.Handler().Handle(context.Background(), record) // errors are ignored, as by a Logger
	return text
}
