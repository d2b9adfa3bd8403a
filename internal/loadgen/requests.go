package loadgen

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/sgx"
)

// The following are the requests of the daemon's clients, for Options.Do. All but Keys
// use the key that every daemon has, aesm.IntelQE3KeyID.

// MakeReport returns an enclave's report for a quoting enclave.
type MakeReport func(ctx context.Context, target sgx.TargetInfo) (sgx.Report, error)

// maxTries is how often a client requests a quote while the daemon replies that its key
// is not initialized. Gramine tries as often.
const maxTries = 5

// Quotes prepares a report and returns a function that requests a quote of it: one
// GetQuote, as an enclave in Gramine does for each quote. If the daemon's key has changed,
// the function prepares another report and tries again, which counts as one request.
//
// The buffer for a quote has room bytes; Gramine's has 8192. With 0, it has the size that
// the daemon returns, which is requested once for each report, as Intel's library does.
func Quotes(ctx context.Context, client *aesm.Client, makeReport MakeReport, room int) (func(context.Context) error, error) {
	q := &quotes{client: client, makeReport: makeReport, room: room}
	first, err := q.prepare(ctx)
	if err != nil {
		return nil, err
	}
	q.prepared.Store(first)
	return q.get, nil
}

type quotes struct {
	client     *aesm.Client
	makeReport MakeReport
	room       int
	prepared   atomic.Pointer[prepared] // the latest
}

// prepared is a report that the daemon quotes until its key changes.
type prepared struct {
	report sgx.Report
	room   int
}

func (q *quotes) prepare(ctx context.Context) (*prepared, error) {
	initialized, err := q.client.InitQuote(ctx, aesm.IntelQE3KeyID())
	if err != nil {
		return nil, err
	}
	report, err := q.makeReport(ctx, initialized.TargetInfo)
	if err != nil {
		return nil, err
	}
	room := q.room
	if room == 0 {
		if room, err = q.client.QuoteSize(ctx, aesm.IntelQE3KeyID()); err != nil {
			return nil, err
		}
	}
	return &prepared{report, room}, nil
}

func (q *quotes) get(ctx context.Context) (err error) {
	for range maxTries {
		p := q.prepared.Load()
		_, err = q.client.GetQuote(ctx, aesm.IntelQE3KeyID(), p.report, p.room, nil)
		if !q.outdated(err) {
			return err
		}
		// Clients do not share this: each application prepares its own report.
		p, prepareErr := q.prepare(ctx)
		if prepareErr != nil {
			return prepareErr
		}
		q.prepared.Store(p)
	}
	return err
}

// outdated reports whether another preparation can help: the daemon's key has changed,
// or its quotes have grown with their certificates.
func (q *quotes) outdated(err error) bool {
	return errors.Is(err, aesm.CodeAttKeyNotInitialized) || q.room == 0 && errors.Is(err, aesm.CodeParameter)
}

// Sizes returns a function that requests the size of a quote. Daemons reject the request
// until a client has initialized their key.
func Sizes(client *aesm.Client) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := client.QuoteSize(ctx, aesm.IntelQE3KeyID())
		return err
	}
}

// Keys returns a function that requests the ID of the key to use, which is the cheapest
// request.
func Keys(client *aesm.Client) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := client.SelectKeyID(ctx)
		return err
	}
}

// Inits returns a function that initializes the key, as a starting client does. It counts
// as one request but is two of the protocol, each with its connection: the first one
// requests the size of the public key's ID.
func Inits(client *aesm.Client) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := client.InitQuote(ctx, aesm.IntelQE3KeyID())
		return err
	}
}
