package aesm

import (
	"context"
	"errors"

	"github.com/confcom/confcom/sgx"
)

// maxInits bounds how often Quote starts again with InitQuoteEx.
const maxInits = 5

// Quote gets a quote under the daemon's default key. It calls makeReport for a
// report for the target info of the quoting enclave; an enclave makes it with
// EREPORT and puts what it wants to attest into the report data.
//
// The daemon's key may change at any time, after an update of the platform or
// with a restart. Quote then starts again, and calls makeReport again for the
// new target info.
func (c *Client) Quote(ctx context.Context, makeReport func(context.Context, sgx.TargetInfo) (sgx.Report, error)) ([]byte, error) {
	key, err := c.SelectKeyID(ctx)
	if err != nil {
		return nil, err
	}
	for range maxInits {
		var quote []byte
		quote, err = c.initAndQuote(ctx, key, makeReport)
		if !errors.Is(err, CodeAttKeyNotInitialized) {
			return quote, err
		}
	}
	return nil, err
}

func (c *Client) initAndQuote(ctx context.Context, key KeyID, makeReport func(context.Context, sgx.TargetInfo) (sgx.Report, error)) ([]byte, error) {
	ready, err := c.InitQuote(ctx, key)
	if err != nil {
		return nil, err
	}
	report, err := makeReport(ctx, ready.TargetInfo)
	if err != nil {
		return nil, err
	}
	quoted, err := FitQuote(
		func(int) (int, error) { return c.QuoteSize(ctx, key) },
		func(size int) (Quoted, error) { return c.GetQuote(ctx, key, report, size, nil) })
	return quoted.Quote, err
}

// FitQuote makes a quote of unknown length: the certificates in a quote may grow
// between asking for its size and asking for the quote.
//
// FitQuote calls size, with 0, and then quote with the size returned. If quote
// returns CodeParameter, as a daemon does when the buffer is too small, FitQuote
// calls size again, with the size that was refused. If the size has grown, it calls
// quote a second and last time.
func FitQuote(size func(refused int) (int, error), quote func(size int) (Quoted, error)) (Quoted, error) {
	first, err := size(0)
	if err != nil {
		return Quoted{}, err
	}
	quoted, err := quote(first)
	if !errors.Is(err, CodeParameter) {
		return quoted, err
	}
	grown, sizeErr := size(first)
	switch {
	case sizeErr != nil:
		return Quoted{}, sizeErr
	case grown <= first:
		return Quoted{}, err
	}
	return quote(grown)
}
