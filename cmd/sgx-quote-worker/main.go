//go:build cgo

// Sgx-quote-worker makes quotes with Intel's DCAP quoting library, for the quote
// helper that has started it. It is a process of its own because that library works
// on one request at a time, and may hang or crash.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/dcap/link"
	"github.com/confcom/confcom/internal/backend/dcap/ql"
	"github.com/confcom/confcom/internal/daemon"
)

func main() {
	os.Exit(daemon.Main("sgx-quote-worker", "Makes quotes with Intel's DCAP library, for the sgx-quote-helper that starts it.", configure))
}

func configure(flags *pflag.FlagSet) daemon.Run {
	text := flags.String("config", "{}", "the settings of sgx-quote-helper, as `JSON` with the names of its flags")

	return func(ctx context.Context, env *daemon.Environment) error {
		settings, err := config.Decode(*text)
		if err != nil {
			return fmt.Errorf("--config: %w", err)
		}
		program, err := os.Executable()
		if err != nil {
			return err
		}
		worker := &worker{}
		options := ql.Options{Shim: filepath.Join(filepath.Dir(program), "libconfcom_provider.so"), Certificates: worker.fetch}
		options.Log, options.LogLevel = logTo(env.Log)
		cache := newCache(settings, worker.fetch, env.Log)
		if settings.Certificates != "" {
			options.Certificates = cache.Get
		}
		if worker.library, err = ql.Open(settings, options); err != nil {
			return err
		}
		listener, err := link.Inherit()
		if err != nil {
			return fmt.Errorf("the libraries loaded, but %w; sgx-quote-worker must be started by sgx-quote-helper", err)
		}
		refreshing, stop := context.WithCancel(ctx)
		defer stop()
		go cache.Run(refreshing) // not waited for, as the provider may hang
		return listener.Serve(ctx, worker, env.Log)
	}
}
