package aesm

import (
	"context"
	"errors"

	"github.com/confcom/confcom/sgx"
)

// maxInits bounds how often Quote starts again with InitQuoteEx.
const maxInits = 5

// Quote gets a quote under the daemon's default key. It asks makeReport for a
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
		quote, err = c.quoteOnce(ctx, key, makeReport)
		if !errors.Is(err, CodeAttKeyNotInitialized) {
			return quote, err
		}
	}
	return nil, err
}

func (c *Client) quoteOnce(ctx context.Context, key KeyID, makeReport func(context.Context, sgx.TargetInfo) (sgx.Report, error)) ([]byte, error) {
	ready, err := c.InitQuote(ctx, key)
	if err != nil {
		return nil, err
	}
	report, err := makeReport(ctx, ready.TargetInfo)
	if err != nil {
		return nil, err
	}
	size, err := c.QuoteSize(ctx, key)
	if err != nil {
		return nil, err
	}
	quoted, err := c.GetQuote(ctx, key, report, size, nil)
	if errors.Is(err, CodeParameter) {
		// The certificates in the quote may have grown in between.
		grown, sizeErr := c.QuoteSize(ctx, key)
		if sizeErr != nil {
			return nil, sizeErr
		}
		if grown > size {
			quoted, err = c.GetQuote(ctx, key, report, grown, nil)
		}
	}
	return quoted.Quote, err
}
