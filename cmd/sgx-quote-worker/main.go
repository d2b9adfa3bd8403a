//go:build cgo

// Sgx-quote-worker makes quotes with Intel's DCAP quoting library, for the quote
// helper that has started it. It is a process of its own because that library
// works on one request at a time, and may hang or crash.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/link"
	"github.com/confcom/confcom/internal/backend/dcap/ql"
	"github.com/confcom/confcom/internal/daemon"
)

func main() {
	os.Exit(daemon.Main("sgx-quote-worker", "Makes quotes with Intel's DCAP library, for the sgx-quote-helper that starts it.", configure))
}

func configure(flags *pflag.FlagSet) daemon.Run {
	var options ql.Options
	var kept keptCertificates
	flags.StringVar(&options.Quoting, "library", "libsgx_dcap_ql.so.1", "Intel's quoting library, by `name` or path")
	flags.StringVar(&options.Provider, "provider", "libdcap_quoteprov.so.1", "the quote provider library, by `name` or path")
	flags.StringVar(&options.EnclaveDir, "enclave-dir", "", "the `directory` of the architectural enclaves; empty for that of the quoting library")
	flags.StringVar(&kept.dir, "certificates", "", "keep the platform's certificates in this `directory`, which other workers use, too; empty asks the provider twice for each quote")
	flags.DurationVar(&kept.refreshAfter, "certificates-refresh", 12*time.Hour, "ask the provider for newer certificates once they are so old")

	return func(ctx context.Context, env *daemon.Environment) error {
		program, err := os.Executable()
		if err != nil {
			return err
		}
		options.Keeper = filepath.Join(filepath.Dir(program), "libconfcom_provider.so")
		options.Log, options.LogLevel = logTo(env.Log)
		worker := &worker{}
		cache := kept.cache(options.Provider, worker.fetch, env.Log)
		if options.Certificates = cache.Get; kept.dir == "" {
			options.Certificates = worker.fetch
		}
		if worker.library, err = ql.Open(options); err != nil {
			return err
		}
		listener, err := link.Inherit()
		if err != nil {
			return fmt.Errorf("all that is to be had is here, but this program is for sgx-quote-helper to start: %w", err)
		}
		refreshing, stop := context.WithCancel(ctx)
		defer stop()
		go cache.Run(refreshing) // the provider may hang; nobody waits for it
		return listener.Serve(ctx, func(conn net.Conn) {
			if err := aesm.ServeConn(ctx, conn, worker); err != nil {
				env.Log.Debug("a connection of the quote helper has ended", "error", err)
			}
		})
	}
}
