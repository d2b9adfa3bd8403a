// Package config is the configuration of the DCAP backend.
//
// There is one struct. The flags of sgx-quote-helper fill it, Validate checks it,
// and the helper hands it to each worker as JSON. A new setting is a field here, a
// flag in cmd/sgx-quote-helper and the place that uses it.
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/confcom/confcom/internal/qcnl"
)

// Config is the configuration. The names of its members in JSON are those of the
// helper's flags.
type Config struct {
	// Workers is the number of worker processes. Each has quoting enclaves of its
	// own, and so EPC. While one is replaced there is one more.
	Workers int `json:"workers"`
	// Program is the path of sgx-quote-worker.
	Program string `json:"worker-program"`
	// Timeout is how long a worker may take for a request before it is killed and
	// another one gets the request.
	Timeout time.Duration `json:"worker-timeout"`
	// MemoryLimit is how much memory of a worker may be resident, in bytes, before
	// it is replaced; 0 is no limit. EPC does not count.
	MemoryLimit uint64 `json:"worker-memory-limit"`
	// Library is Intel's quoting library: a path, or a name that the dynamic linker
	// finds.
	Library string `json:"dcap-library"`
	// Provider is the library of the quote provider, likewise.
	Provider string `json:"dcap-provider"`
	// EnclaveDir is the directory of the architectural enclaves; empty means that
	// the quoting library finds them beside itself.
	EnclaveDir string `json:"enclave-dir"`
	// QCNL is the path of the configuration of Intel's quote provider. The workers
	// are replaced when it changes.
	QCNL string `json:"qcnl-config"`
	// Certificates is the directory in which the workers keep the platform's
	// certificates. The helper uses a temporary directory if it is empty, and a
	// worker that is started by hand keeps none.
	Certificates string `json:"certificates-dir"`
	// RefreshAfter is the age at which certificates are fetched again.
	RefreshAfter time.Duration `json:"certificates-refresh"`
	// FetchTimeout is how long the provider may take to fetch certificates before its
	// process is killed.
	FetchTimeout time.Duration `json:"certificates-timeout"`
	// Env is the environment of the workers; nil means that of this process. It is
	// not handed over.
	Env []string `json:"-"`
}

// MaxFetchTimeout is the most that FetchTimeout may be.
const MaxFetchTimeout = 50 * time.Second

// maxWorkers is how many workers there are at most by default, as each takes EPC.
const maxWorkers = 4

// Default returns the configuration for a node where everything is in its usual
// place.
func Default() Config {
	return Config{
		Workers:      min(runtime.GOMAXPROCS(0), maxWorkers),
		Program:      besideThis("sgx-quote-worker"),
		Timeout:      2 * time.Second,
		MemoryLimit:  512 << 20,
		Library:      "libsgx_dcap_ql.so.1",
		Provider:     "libdcap_quoteprov.so.1",
		QCNL:         qcnl.Path(),
		RefreshAfter: 12 * time.Hour,
		FetchTimeout: 30 * time.Second,
	}
}

// besideThis returns the path of another program in the directory of this one.
func besideThis(name string) string {
	this, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(this), name)
}

// InvalidError is a setting that cannot work.
type InvalidError struct {
	Setting string // its name in JSON
	Value   any
	Err     error
}

func (e *InvalidError) Error() string { return fmt.Sprintf("%s=%v: %v", e.Setting, e.Value, e.Err) }
func (e *InvalidError) Unwrap() error { return e.Err }

var (
	errFewWorkers = errors.New("must be at least 1")
	errNoDuration = errors.New("must be greater than 0")
	errTooLong    = fmt.Errorf("must be at most %s: a worker starts within a minute", MaxFetchTimeout)
)

// Validate checks the configuration on this machine. The error is an *InvalidError.
func (c Config) Validate() error {
	_, program := os.Stat(c.Program)
	switch {
	case c.Workers < 1:
		return &InvalidError{"workers", c.Workers, errFewWorkers}
	case c.Timeout <= 0:
		return &InvalidError{"worker-timeout", c.Timeout, errNoDuration}
	case c.RefreshAfter <= 0:
		return &InvalidError{"certificates-refresh", c.RefreshAfter, errNoDuration}
	case c.FetchTimeout <= 0:
		return &InvalidError{"certificates-timeout", c.FetchTimeout, errNoDuration}
	case c.FetchTimeout > MaxFetchTimeout:
		return &InvalidError{"certificates-timeout", c.FetchTimeout, errTooLong}
	case program != nil:
		return &InvalidError{"worker-program", c.Program, program}
	}
	return nil
}

// Encode returns the configuration as JSON, for Decode.
func (c Config) Encode() string {
	text, _ := json.Marshal(c) // strings and numbers never fail
	return string(text)
}

// Decode reads what Encode returned. Members that are missing have the values of
// Default; unknown ones are an error, as helper and worker would be of different
// releases.
func Decode(text string) (Config, error) {
	c := Default()
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("decode configuration: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("decode configuration: data after its end")
	}
	return c, nil
}
