//go:build cgo

// Sgx-quote-worker makes quotes with Intel's DCAP quoting library, for the quote
// helper that has started it. It is a process of its own because that library works
// on one request at a time, and may hang or crash.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/dcap/link"
	"github.com/confcom/confcom/internal/daemon"
)

func main() {
	os.Exit(daemon.Main("sgx-quote-worker", "Makes quotes with Intel's DCAP library, for the sgx-quote-helper that starts it.", configure))
}

func configure(flags *pflag.FlagSet) daemon.Run {
	text := flags.String("config", "{}", "the settings of sgx-quote-helper, as `JSON` with the names of its flags")
	fetching := flags.Bool("fetch", false, "ask the quote provider for the platform's certificates and exit: for the worker that starts it")

	return func(ctx context.Context, env *daemon.Environment) error {
		settings, err := config.Decode(*text)
		if err != nil {
			return fmt.Errorf("--config: %w", err)
		}
		if *fetching {
			return answer(ctx, settings, env.Log)
		}
		worker, err := openWorker(settings, env.Log)
		if err != nil {
			return err
		}
		listener, err := link.Inherit()
		if err != nil {
			return fmt.Errorf("the libraries loaded, but %w; sgx-quote-worker must be started by sgx-quote-helper", err)
		}
		var refreshing sync.WaitGroup
		defer refreshing.Wait()
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		if worker.cache != nil {
			refreshing.Go(func() { worker.cache.Run(ctx) })
		}
		return listener.Serve(ctx, worker, env.Log)
	}
}
