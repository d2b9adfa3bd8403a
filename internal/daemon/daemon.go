// Package daemon has what all daemons of confcom share: flags, logs, health, metrics,
// start and stop.
//
// The main function of a daemon is one line. What is specific to it is in one
// function, which declares flags and returns what to run once they are parsed:
//
//	func main() {
//		os.Exit(daemon.Main("sgx-example", "Does one thing for this node.", configure))
//	}
//
// A daemon runs until it receives SIGTERM or SIGINT, and then stops gracefully. A
// second signal ends it at once.
package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
)

// The exit codes of a daemon.
const (
	exitOK    = 0 // stopped on request
	exitError = 1 // failed; the last log line has the reason
	exitUsage = 2 // invalid flags or arguments
)

// helpWidth is the width of help texts in characters.
const helpWidth = 100

// Run is the work of a daemon. It returns nil once ctx is done and everything that it
// started has ended. It returns an error if the daemon cannot continue: what failed, the
// cause, and what to do about it.
type Run func(ctx context.Context, env *Environment) error

// Environment is what a daemon runs in.
type Environment struct {
	Log     *slog.Logger
	Health  *Health
	Metrics *prometheus.Registry
	Cluster Networks // for Listen and Client

	name  string // of the daemon
	shown settingsShown
}

// Main runs a daemon and returns its exit code: 0 if it stopped on request, 1 if it
// failed, 2 if its flags are invalid. The help text starts with about, a sentence on
// the daemon. configure declares the daemon's own flags and returns what to run once
// they are parsed.
func Main(name, about string, configure func(*pflag.FlagSet) Run) int {
	return Command(context.Background(), name, about, os.Args[1:], os.Stdout, os.Stderr, configure)
}

// Command is Main for a daemon that is a subcommand of a program. It also stops when
// ctx is done.
func Command(ctx context.Context, name, about string, args []string, stdout, stderr io.Writer, configure func(*pflag.FlagSet) Run) int {
	d := program{name: name, about: about, stdout: stdout, stderr: stderr}
	return d.main(ctx, args, configure)
}

// program is a daemon and where it writes.
type program struct {
	name, about    string
	stdout, stderr io.Writer
}

func (d program) main(ctx context.Context, args []string, configure func(*pflag.FlagSet) Run) int {
	flags := pflag.NewFlagSet(d.name, pflag.ContinueOnError)
	flags.SortFlags = false
	flags.Usage = func() {}
	run := configure(flags)
	shared := declare(flags)

	err := parse(flags, args)
	switch {
	case errors.Is(err, pflag.ErrHelp) || shared.help:
		fmt.Fprintf(d.stdout, "%s\n\nUsage:\n  %s [flags]\n\nFlags:\n%s", d.about, d.name, flags.FlagUsagesWrapped(helpWidth))
		return exitOK
	case err != nil:
		fmt.Fprintf(d.stderr, "%s: %v\nTry '%[1]s --help'.\n", d.name, err)
		return exitUsage
	case shared.version:
		fmt.Fprintln(d.stdout, d.name, version())
		return exitOK
	}

	format := logFormat(d.stderr, shared.logFormat.value)
	log := newLines(d.stderr, func(source string, n int) []byte {
		var line bytes.Buffer
		attrs := []any{"lines", n}
		if source != "" {
			attrs = []any{"peer", source, "lines", n}
		}
		newLogger(&line, "warn", format).Warn("log lines dropped, reader is too slow", attrs...)
		return line.Bytes()
	})
	defer log.close()
	registry, metrics := newRegistry(d.name)
	env := &Environment{
		Log: slog.New(newSourceHandler(log, func(w io.Writer) slog.Handler {
			return newHandler(w, shared.logLevel.value, format)
		})),
		Health:  &Health{metrics: metrics},
		Metrics: registry,
		Cluster: shared.cluster,
		name:    d.name,
		shown:   settingsShown{flags: valuesOf(flags)},
	}
	// A daemon can be stopped as soon as it has logged its first line.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	env.Log.Info("starting", "daemon", d.name, "version", version())
	if err := env.run(ctx, stop, run, shared.httpAddress); err != nil {
		env.Log.Error("exiting on error", "error", err)
		return exitError
	}
	env.Log.Info("stopped")
	return exitOK
}

// run calls run while it serves HTTP. It returns when run has ended. When ctx is
// done, by a signal or otherwise, it calls stop.
func (env *Environment) run(ctx context.Context, stop func(), run Run, httpAddress string) error {
	running := env.Health.Condition("running")
	running.Set(nil)
	stopping := sync.OnceFunc(func() {
		stop() // the next signal has its default effect and ends the process
		running.Set(fmt.Errorf("stopping: %w", context.Cause(ctx)))
		env.Log.Info("stopping", "reason", context.Cause(ctx))
	})
	cancel := context.AfterFunc(ctx, stopping)
	defer func() {
		cancel()
		if ctx.Err() != nil {
			stopping() // run may return before AfterFunc has called it
		}
	}()

	return env.serve(ctx, httpAddress, func(ctx context.Context) error {
		err := recovered(ctx, env, run)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // stopping on request is not a failure
		}
		return err
	})
}

// recovered calls run and turns a panic into an error.
func recovered(ctx context.Context, env *Environment, run Run) (err error) {
	defer func() {
		if p := recover(); p != nil {
			env.Log.Error("panic", "value", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v: this is a bug, please report it with the stack in the previous log line", p)
		}
	}()
	return run(ctx, env)
}
