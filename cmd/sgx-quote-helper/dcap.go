package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/internal/backend/dcap"
	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/qcnl"
)

// dcapFlags are the flags of the platform with Intel's library.
type dcapFlags struct {
	workers       int
	program       string
	timeout       time.Duration
	memoryLimit   node.Size
	library       string
	provider      string
	enclaveDir    string
	configuration string
	certificates  string
	refreshAfter  time.Duration
}

// maxWorkers is how many workers there are at most, unless it is said: each needs
// EPC of its own.
const maxWorkers = 4

func (d *dcapFlags) add(flags *pflag.FlagSet) {
	d.memoryLimit = 512 * node.MiB
	flags.IntVar(&d.workers, "workers", 0, "with --platform=dcap: how many processes make quotes; 0 for one per processor, but 4 at most. Each has EPC for enclaves of its own, and while one is replaced there is one more")
	flags.StringVar(&d.program, "worker-program", besideThis("sgx-quote-worker"), "with --platform=dcap: the `path` of sgx-quote-worker")
	flags.DurationVar(&d.timeout, "worker-timeout", 2*time.Second, "with --platform=dcap: how long a worker may take for a quote before it is killed, and another one asked")
	flags.Var(&d.memoryLimit, "worker-memory-limit", "with --platform=dcap: the memory with which a worker is replaced, without EPC; 0 for no limit")
	flags.StringVar(&d.library, "dcap-library", "libsgx_dcap_ql.so.1", "with --platform=dcap: Intel's quoting library, by `name` or path")
	flags.StringVar(&d.provider, "dcap-provider", "libdcap_quoteprov.so.1", "with --platform=dcap: the quote provider library, by `name` or path")
	flags.StringVar(&d.enclaveDir, "enclave-dir", "", "with --platform=dcap: the `directory` of the architectural enclaves; empty for that of the quoting library")
	flags.StringVar(&d.configuration, "qcnl-config", qcnl.Path(), "with --platform=dcap: the `path` of the configuration of Intel's default quote provider")
	flags.StringVar(&d.certificates, "certificates-dir", "", "with --platform=dcap: the `directory` to keep the platform's certificates in; empty for a new one in the directory for temporary files")
	flags.DurationVar(&d.refreshAfter, "certificates-refresh", 12*time.Hour, "with --platform=dcap: ask the provider for newer certificates once they are so old")
}

// besideThis is the path of another program in the directory of this one.
func besideThis(name string) string {
	this, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(this), name)
}

func (d *dcapFlags) open(env *daemon.Environment) (opened, error) {
	switch {
	case d.workers < 0:
		return opened{}, fmt.Errorf("--workers=%d: there has to be one at least", d.workers)
	case d.timeout <= 0:
		return opened{}, fmt.Errorf("--worker-timeout=%s: a worker needs some time", d.timeout)
	case d.refreshAfter <= 0:
		return opened{}, fmt.Errorf("--certificates-refresh=%s: certificates have to be kept for a while", d.refreshAfter)
	}
	if _, err := os.Stat(d.program); err != nil {
		return opened{}, fmt.Errorf("--worker-program: the program that makes the quotes is not there: %w", err)
	}
	d.lint(env.Log)
	workers := d.workers
	if workers == 0 {
		workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	certificates, remove := d.certificates, func() {}
	if certificates == "" {
		dir, err := os.MkdirTemp("", "sgx-quote-helper-")
		if err != nil {
			return opened{}, fmt.Errorf("a directory for the platform's certificates: %w: set --certificates-dir", err)
		}
		certificates, remove = dir, func() { os.RemoveAll(dir) }
	}
	platform := dcap.Start(dcap.Options{
		Workers: workers,
		Program: d.program,
		Args: []string{
			"--library=" + d.library, "--provider=" + d.provider, "--enclave-dir=" + d.enclaveDir,
			"--certificates=" + certificates, "--certificates-refresh=" + d.refreshAfter.String(),
		},
		Env:           d.env(certificates),
		Configuration: d.configuration,
		Certificates:  certificates,
		Timeout:       d.timeout,
		MemoryLimit:   uint64(d.memoryLimit),
		Log:           env.Log,
		Metrics:       env.Metrics,
	})
	return opened{platform, workers, func() {
		platform.Close()
		remove()
	}}, nil
}

// lint tells the log what is wrong with the configuration of Intel's provider, which
// itself says nothing.
func (d *dcapFlags) lint(log *slog.Logger) {
	text, err := os.ReadFile(d.configuration)
	if err != nil {
		log.Warn("the quote provider has no configuration: Intel's asks a PCCS on this machine (confcom doctor --check=configuration)", "error", err)
		return
	}
	_, findings := qcnl.Parse(text)
	for _, f := range findings {
		level := slog.LevelWarn
		if f.Severity == qcnl.Note {
			level = slog.LevelInfo
		}
		log.Log(context.Background(), level, "the configuration of the quote provider (confcom doctor --check=configuration)", "file", d.configuration, "line", f.Line, "finding", f.Text, "advice", f.Remedy)
	}
}

// env tells the provider where its configuration is, and where it may write.
func (d *dcapFlags) env(certificates string) []string {
	env := []string{"QCNL_CONF_PATH=" + d.configuration}
	if os.Getenv("AZDCAP_CACHE") == "" {
		env = append(env, "AZDCAP_CACHE="+certificates)
	}
	return env
}
