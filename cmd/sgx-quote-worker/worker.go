//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/config"
	"github.com/confcom/confcom/internal/backend/dcap/fetch"
	"github.com/confcom/confcom/internal/backend/dcap/link"
	"github.com/confcom/confcom/internal/backend/dcap/ql"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/sgx"
)

// worker is a link.Handler that calls Intel's library.
type worker struct {
	library *ql.Library
	log     *slog.Logger
	fetcher *fetch.Fetcher
	cache   *certificates.Cache // nil if no certificates are kept
	// size is the size of quotes in bytes, as the library returned it last; 0 before
	// that. It is asked for with the key, not for each quote.
	size atomic.Int64
	// given is what the library was given last as the platform's certificates.
	given atomic.Pointer[certificates.Data]
	// said is the error that the library has logged since the request began: the first
	// one that names an error of the SGX SDK, or else the last.
	said atomic.Pointer[string]
}

// openWorker loads the libraries.
func openWorker(c config.Config, log *slog.Logger) (*worker, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{log: log, fetcher: newFetcher(c, program)}
	if c.Certificates != "" {
		w.cache = newCache(c, w.fetcher.Fetch, log)
		w.cache.Prove = func() error { return w.explain(w.prove) }
	}
	if w.library, err = ql.Open(c, w.options(program)); err != nil {
		return nil, err
	}
	w.fetcher.Service = service(c, w.library.HasAzureProvider())
	return w, nil
}

// options returns those of the library.
func (w *worker) options(program string) ql.Options {
	get := func(id certificates.ID, encryptedPPID []byte) (certificates.Data, error) {
		answer, err := w.fetcher.Fetch(context.Background(), certificates.Query{ID: id, EncryptedPPID: encryptedPPID})
		return answer.Data, err
	}
	if w.cache != nil {
		get = w.cache.Get
	}
	write, level := logTo(w.log)
	return ql.Options{
		Shim: filepath.Join(filepath.Dir(program), "libconfcom_provider.so"),
		Certificates: func(id certificates.ID, encryptedPPID []byte) (certificates.Data, error) {
			data, err := get(id, encryptedPPID)
			if err == nil {
				w.given.Store(&data)
			}
			return data, err
		},
		Log: func(level ql.Level, text string) {
			if said := w.said.Load(); level == ql.LevelError && (said == nil || !strings.Contains(*said, "SGXError")) {
				w.said.Store(&text)
			}
			write(level, text)
		},
		LogLevel: level,
	}
}

// Initialize initializes the key and asks for the size of quotes.
func (w *worker) Initialize() (identity link.Identity, err error) {
	err = w.initialize(func() error {
		identity, err = w.identify()
		return err
	})
	return identity, err
}

// initialize runs a function that initializes the key.
func (w *worker) initialize(f func() error) error {
	if w.cache == nil {
		return w.explain(f)
	}
	return w.cache.Initialize(func() error { return w.explain(f) })
}

// identify initializes the key and asks for the size of quotes.
func (w *worker) identify() (link.Identity, error) {
	for again := false; ; again = true {
		initialized, err := w.library.InitQuote()
		if err != nil {
			return link.Identity{}, err
		}
		if err := w.checkKey(); err != nil {
			return link.Identity{}, err
		}
		size, err := w.resize()
		// Another process may have refreshed the certificates between the two.
		if !errors.Is(err, quote3.AttKeyNotInitialized) || again {
			return link.Identity{Initialized: initialized, QuoteSize: size}, err
		}
	}
}

// checkKey checks that the certificates are those of this platform. Neither the quoting
// library nor its enclaves do that, and quotes with others are of no use. It takes no quote
// to find out, which only an enclave could request: the quoting enclave's key is certified
// with the same signature that is in quotes.
func (w *worker) checkKey() error {
	data, blob := w.given.Load(), w.library.KeyBlob()
	if data == nil {
		return nil // a library without a provider
	}
	certified, err := certificates.ParseKeyBlob(blob)
	if err != nil {
		// Another release of the library may do otherwise.
		w.log.Debug("compare platform certificates with the platform's key failed", "error", err)
		return nil
	}
	if err := data.CheckKey(certified); err != nil {
		return fmt.Errorf("%w: %w", err, quote3.AttKeyCertDataInvalid)
	}
	return nil
}

// prove is identify for a caller that does not need the identity.
func (w *worker) prove() error {
	_, err := w.identify()
	return err
}

// resize asks the library for the size of quotes.
func (w *worker) resize() (int, error) {
	size, err := w.library.QuoteSize()
	if err == nil {
		w.size.Store(int64(size))
	}
	return size, err
}

// Quote signs report. If the quote has outgrown the known size, as after a change of
// certificates, it asks for the size and tries once more.
func (w *worker) Quote(report sgx.Report, challenge *aesm.Challenge) (quoted aesm.Quoted, err error) {
	sign := func() error {
		quoted, err = w.sign(report, challenge)
		return err
	}
	if w.cache == nil {
		err = w.explain(sign)
	} else {
		err = w.cache.Quote(func() error { return w.explain(sign) })
	}
	return quoted, err
}

func (w *worker) sign(report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	size := int(w.size.Load())
	quoted, err := w.library.Quote(report, challenge, size)
	if errors.Is(err, quote3.InvalidParameter) {
		grown, resizeErr := w.resize()
		if resizeErr != nil {
			return aesm.Quoted{}, resizeErr
		}
		if grown > size {
			quoted, err = w.library.Quote(report, challenge, grown)
		}
	}
	return quoted, err
}

// explain runs f and adds to its error what the library has logged meanwhile: a code
// alone may have many causes.
func (w *worker) explain(f func() error) error {
	w.said.Store(nil)
	err := f()
	if said := w.said.Load(); err != nil && said != nil {
		return fmt.Errorf("%w: the library logged: %s", err, *said)
	}
	return err
}
