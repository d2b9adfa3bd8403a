// Package daemon is what every daemon of confcom shares: how it reads flags,
// writes logs, reports its health and its metrics, starts and stops.
//
// The main function of a daemon is one line. All that is its own is in one
// function, which declares flags and returns what to run once they are parsed:
//
//	func main() {
//		os.Exit(daemon.Main("sgx-example", "Does one thing for this node.", configure))
//	}
//
// A daemon runs until it gets SIGTERM or SIGINT. It then has the time it needs
// to stop cleanly; a second signal ends it at once.
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
	exitOK    = 0 // it was asked to stop and did
	exitError = 1 // it could not go on; the last log line says why
	exitUsage = 2 // the flags or arguments are wrong
)

// helpWidth is how wide a help text is, in characters.
const helpWidth = 100

// Run is the work of a daemon. It returns nil once ctx is done and everything
// it started has ended, or an error that says why it could not go on: what
// happened, where, and what to do about it.
type Run func(ctx context.Context, env *Environment) error

// Environment is what a running daemon is given.
type Environment struct {
	Log     *slog.Logger
	Health  *Health
	Metrics *prometheus.Registry
}

// Main runs a daemon and returns its exit code: 0 when it stopped as asked, 1
// when it could not go on, 2 when its flags are wrong. The program's name and
// a sentence about it begin its help text. configure declares the daemon's own
// flags and returns what to run after they are parsed.
func Main(name, about string, configure func(*pflag.FlagSet) Run) int {
	return Command(context.Background(), name, about, os.Args[1:], os.Stdout, os.Stderr, configure)
}

// Command is Main for a daemon that is a command of a program, with these arguments.
// It also stops when ctx is done.
func Command(ctx context.Context, name, about string, args []string, stdout, stderr io.Writer, configure func(*pflag.FlagSet) Run) int {
	d := program{name: name, about: about, stdout: stdout, stderr: stderr}
	return d.main(ctx, args, configure)
}

// program is a daemon together with where it writes.
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
	log := newLines(d.stderr, func(n int) []byte {
		var line bytes.Buffer
		newLogger(&line, "warn", format).Warn("lines of the log were left out here, since it was not read", "lines", n)
		return line.Bytes()
	})
	defer log.close()
	env := &Environment{
		Log:     newLogger(log, shared.logLevel.value, format),
		Health:  new(Health),
		Metrics: newMetrics(d.name),
	}
	// From the first line on that it logs, a daemon can be asked to stop.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	env.Log.Info("starting", "daemon", d.name, "version", version())
	if err := env.run(ctx, stop, run, shared.httpAddress); err != nil {
		env.Log.Error("cannot go on", "error", err)
		return exitError
	}
	env.Log.Info("stopped")
	return exitOK
}

// run calls run beside the HTTP endpoint, until it ends or a signal has
// asked for the end, by which ctx is done. It calls stop then.
func (env *Environment) run(ctx context.Context, stop func(), run Run, httpAddress string) error {
	running := env.Health.Condition("running")
	running.Set(nil)
	stopping := sync.OnceFunc(func() {
		stop() // the next signal has its default effect: the end
		running.Set(fmt.Errorf("stopping: %w", context.Cause(ctx)))
		env.Log.Info("stopping", "reason", context.Cause(ctx))
	})
	forget := context.AfterFunc(ctx, stopping)
	defer func() {
		forget()
		if ctx.Err() != nil {
			stopping() // a daemon that stops at once may be here first
		}
	}()

	return env.serve(ctx, httpAddress, func(ctx context.Context) error {
		err := recovered(ctx, env, run)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // being asked to stop is no failure
		}
		return err
	})
}

// recovered calls run and makes an error of a panic.
func recovered(ctx context.Context, env *Environment, run Run) (err error) {
	defer func() {
		if p := recover(); p != nil {
			env.Log.Error("panic", "value", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("a bug in this daemon: panic: %v (its stack is in the line before): please report it", p)
		}
	}()
	return run(ctx, env)
}
