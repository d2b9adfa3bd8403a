//go:build cgo

package main

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/ql"
	"github.com/confcom/confcom/internal/backend/dcap/ql/quote3"
	"github.com/confcom/confcom/sgx"
)

// worker is an aesm.Handler with Intel's library. The codes that it answers with
// are those of the library, quote3_error_t: AESM has numbers for some only, and
// what they mean to clients is for the helper to say.
type worker struct {
	library *ql.Library
	// size is the length of quotes in bytes, as the library last said; 0 is not
	// known. The library is asked for it with the key, not with each quote.
	size atomic.Int64
}

// code makes the code of an answer of an error of the library.
func code(err error) error {
	if e, ok := errors.AsType[quote3.Error](err); ok {
		return aesm.Code(e)
	}
	return err
}

// KeyIDs returns the key of Intel's quoting enclave.
func (w *worker) KeyIDs(context.Context) ([]aesm.KeyID, error) {
	return []aesm.KeyID{aesm.IntelQE3KeyID()}, nil
}

// InitQuote makes the key ready and finds the length of quotes out.
func (w *worker) InitQuote(context.Context, aesm.KeyID) (aesm.Initialized, error) {
	ready, err := w.library.InitQuote()
	if err == nil {
		err = w.resize()
	}
	return ready, code(err)
}

// resize asks the library for the length of quotes.
func (w *worker) resize() error {
	size, err := w.library.QuoteSize()
	if err == nil {
		w.size.Store(int64(size))
	}
	return err
}

// QuoteSize returns the length of the next quote in bytes.
func (w *worker) QuoteSize(context.Context, aesm.KeyID) (int, error) {
	size := w.size.Load()
	if size == 0 {
		return 0, code(quote3.AttKeyNotInitialized)
	}
	return int(size), nil
}

// Quote signs report. If the certificates have grown since the length was asked
// for, it is asked for again.
func (w *worker) Quote(_ context.Context, _ aesm.KeyID, report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
	size := w.size.Load()
	quoted, err := w.library.Quote(report, challenge, int(size))
	if errors.Is(err, quote3.InvalidParameter) {
		if err := w.resize(); err != nil {
			return aesm.Quoted{}, code(err)
		}
		if grown := w.size.Load(); grown > size {
			quoted, err = w.library.Quote(report, challenge, int(grown))
		}
	}
	return quoted, code(err)
}

// fetch asks the provider for certificates.
func (w *worker) fetch(id certificates.ID, encryptedPPID []byte) (certificates.Data, error) {
	return w.library.Fetch(id, encryptedPPID)
}
