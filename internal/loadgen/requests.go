package loadgen

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/sgx"
)

// What follows are the requests of the daemon's clients, for Options.Do. All but
// Keys are about the key that every daemon has, aesm.IntelQE3KeyID.

// MakeReport makes an enclave's report for a quoting enclave.
type MakeReport func(ctx context.Context, target sgx.TargetInfo) (sgx.Report, error)

// maxTries is how often a client asks for a quote while the daemon answers that
// its key is not initialized: as often as Gramine.
const maxTries = 5

// Quotes prepares a report, and returns what asks for a quote of it: one GetQuote,
// as an enclave in Gramine does for each quote. Where the daemon's key has changed
// it prepares another report and asks again, all as one request.
//
// The buffer for a quote has room bytes, 8192 with Gramine; 0 means as many as the
// daemon says, which is asked for once for each report, as Intel's library does.
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

// prepared is a report that can be quoted until the daemon's key changes.
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
		// Each client prepares by itself, as each application has to.
		p, prepareErr := q.prepare(ctx)
		if prepareErr != nil {
			return prepareErr
		}
		q.prepared.Store(p)
	}
	return err
}

// outdated tells whether a new preparation can help: the daemon has another key,
// or its quotes have grown with their certificates.
func (q *quotes) outdated(err error) bool {
	return errors.Is(err, aesm.CodeAttKeyNotInitialized) || q.room == 0 && errors.Is(err, aesm.CodeParameter)
}

// Sizes asks for the size of a quote, one request. Daemons refuse that while nobody
// has made their key ready.
func Sizes(client *aesm.Client) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := client.QuoteSize(ctx, aesm.IntelQE3KeyID())
		return err
	}
}

// Keys asks which key to use, one request: the cheapest that there is.
func Keys(client *aesm.Client) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := client.SelectKeyID(ctx)
		return err
	}
}

// Inits makes the key ready, as a client does that starts. It is counted as one
// but is two requests of the protocol, each with its connection: the first asks
// for the size of the public key's id.
func Inits(client *aesm.Client) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := client.InitQuote(ctx, aesm.IntelQE3KeyID())
		return err
	}
}
