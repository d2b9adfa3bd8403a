//go:build cgo

package main

import (
	"errors"
	"sync/atomic"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/link"
	"github.com/confcom/confcom/internal/backend/dcap/ql"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/sgx"
)

// worker is a link.Handler that calls Intel's library.
type worker struct {
	library *ql.Library
	// size is the size of quotes in bytes, as the library returned it last; 0 before
	// that. It is asked for with the key, not for each quote.
	size atomic.Int64
}

// Initialize initializes the key and asks for the size of quotes.
func (w *worker) Initialize() (link.Identity, error) {
	initialized, err := w.library.InitQuote()
	if err != nil {
		return link.Identity{}, err
	}
	size, err := w.resize()
	return link.Identity{Initialized: initialized, QuoteSize: size}, err
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
func (w *worker) Quote(report sgx.Report, challenge *aesm.Challenge) (aesm.Quoted, error) {
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

// fetch asks the real provider for certificates.
func (w *worker) fetch(id certificates.ID, encryptedPPID []byte) (certificates.Data, error) {
	return w.library.Fetch(id, encryptedPPID)
}
