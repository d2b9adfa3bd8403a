package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/backend/dcap"
	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/node"
)

// addDCAPFlags declares the flags that fill the configuration of the DCAP backend.
func addDCAPFlags(flags *pflag.FlagSet, c *config.Config) {
	*c = config.Default()
	flags.IntVar(&c.Workers, "workers", 0, "with --platform=dcap: the number of processes that make quotes; 0 for one per processor, at most 4. Each has EPC for its own enclaves, and there is one more while one is being replaced")
	flags.StringVar(&c.Program, "worker-program", c.Program, "with --platform=dcap: the `path` of sgx-quote-worker")
	flags.DurationVar(&c.Timeout, "worker-timeout", c.Timeout, "with --platform=dcap: how long a worker may take for a quote before it is killed and another one gets the request")
	flags.Var((*node.Size)(&c.MemoryLimit), "worker-memory-limit", "with --platform=dcap: replace a worker whose resident memory, not counting EPC, exceeds this size (0: no limit)")
	flags.StringVar(&c.Library, "dcap-library", c.Library, "with --platform=dcap: Intel's quoting library, a `name` or path")
	flags.StringVar(&c.Provider, "dcap-provider", c.Provider, "with --platform=dcap: the quote provider library, a `name` or path")
	flags.StringVar(&c.EnclaveDir, "enclave-dir", c.EnclaveDir, "with --platform=dcap: the `directory` of the architectural enclaves; empty for that of the quoting library")
	flags.StringVar(&c.QCNL, "qcnl-config", c.QCNL, "with --platform=dcap: the `path` of the configuration of Intel's default quote provider")
	flags.StringVar(&c.Certificates, "certificates-dir", c.Certificates, "with --platform=dcap: the `directory` in which the platform's certificates are cached, which only this user and root may be able to write to; empty for a temporary one")
	flags.DurationVar(&c.RefreshAfter, "certificates-refresh", c.RefreshAfter, "with --platform=dcap: fetch certificates again when they are this old")
	flags.DurationVar(&c.FetchTimeout, "certificates-timeout", c.FetchTimeout, "with --platform=dcap: how long the quote provider may take to fetch certificates before its process is killed, at most 50s")
}

// openDCAP starts the DCAP backend.
func openDCAP(c config.Config, env *daemon.Environment) (opened, error) {
	if c.Workers == 0 {
		c.Workers = config.Default().Workers
	}
	backend, err := dcap.Start(c, env.Log, dcap.NewMetrics(env.Metrics))
	if invalid, ok := errors.AsType[*config.InvalidError](err); ok {
		return opened{}, fmt.Errorf("--%w", invalid) // settings have the names of their flags
	}
	if err != nil {
		return opened{}, fmt.Errorf("%w: set --certificates-dir", err)
	}
	lint(c.QCNL, env.Log)
	return opened{backend, backend.Workers(), backend.Close}, nil
}
