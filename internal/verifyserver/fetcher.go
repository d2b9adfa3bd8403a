package verifyserver

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"reflect"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/quote"
)

// Source is where a service has collateral from.
type Source interface {
	// Kept returns collateral of a family that is at hand, or nil. It does not wait for anything.
	Kept(attest.Family) *attest.Collateral
	// Fetch returns collateral of a family, for which a client asks: other collateral than kept,
	// which Kept has returned, if there is newer one.
	Fetch(ctx context.Context, client netip.Addr, family attest.Family, kept *attest.Collateral) (*attest.Collateral, error)
	// Certificates returns the PCK certificate of the platform of a quote that lacks it, or that of
	// its CA, together with those of the CA and of the root: own ones, which the client has sent,
	// or others. Nothing of the quote is verified.
	Certificates(ctx context.Context, client netip.Addr, q *quote.Quote, own verify.Certificates) ([]*x509.Certificate, error)
}

// Client gets collateral from a service: a *pcs.Client.
type Client interface {
	// InMemory returns valid collateral that is in memory, or nil.
	InMemory(attest.Family) *pcs.Bundle
	// Cached returns valid collateral that is at hand, or nil. It does not wait for the
	// service.
	Cached(attest.Family) *pcs.Bundle
	// Refresh waits for the service if there is none, or it is older than the service allows.
	Refresh(context.Context, attest.Family) (*pcs.Bundle, error)
	// CertificatesInMemory returns the certificates that a quote lacks if they are in memory, or
	// nil.
	CertificatesInMemory(*quote.Quote) []*x509.Certificate
	// CertificatesFor waits for the service if they are not.
	CertificatesFor(context.Context, *quote.Quote) ([]*x509.Certificate, error)
}

// Fetcher has a client fetch collateral that is not at hand, and certificates. A collateral
// service that hangs or fails delays no quote of a platform whose collateral is.
//
// Families are those of platforms that are proven. Which certificates are fetched is for a
// stranger to choose, so these fetches have a share of their own, and each failure ends it for
// a while.
type Fetcher struct {
	client       Client
	families     *flights[attest.Family, *pcs.Bundle]
	certificates *flights[platformID, []*x509.Certificate]
}

// failurePause is how long a client waits between two requests for certificates that fail. All
// clients together cause no more than maxFetches of them in this time.
const failurePause = time.Second

// NewFetcher returns a Fetcher. Close it before the client.
func NewFetcher(client Client) *Fetcher {
	return &Fetcher{
		client:   client,
		families: newFlights(0, client.Refresh),
		certificates: newFlights(failurePause, func(ctx context.Context, id platformID) ([]*x509.Certificate, error) {
			return client.CertificatesFor(ctx, id.quote())
		}),
	}
}

// Close cancels all fetches and waits until they have ended.
func (f *Fetcher) Close() {
	f.families.close()
	f.certificates.close()
}

// Kept returns what the client has in memory.
func (f *Fetcher) Kept(family attest.Family) *attest.Collateral {
	if bundle := f.client.InMemory(family); bundle != nil {
		return &bundle.Collateral
	}
	return nil
}

// Fetch returns what the client has at hand, or waits for a fetch.
func (f *Fetcher) Fetch(ctx context.Context, client netip.Addr, family attest.Family, kept *attest.Collateral) (*attest.Collateral, error) {
	if bundle := f.client.Cached(family); bundle != nil && !same(&bundle.Collateral, kept) {
		return &bundle.Collateral, nil
	}
	bundle, err := f.families.wait(ctx, client, family)
	if err != nil {
		return nil, err
	}
	return &bundle.Collateral, nil
}

// Certificates returns the chain of a quote's platform: own certificates, those that the client
// has in memory, or those for which it waits.
func (f *Fetcher) Certificates(ctx context.Context, client netip.Addr, q *quote.Quote, own verify.Certificates) ([]*x509.Certificate, error) {
	return own.With(requester{f, client}).CertificatesFor(ctx, q)
}

// requester gets certificates for a client.
type requester struct {
	fetcher *Fetcher
	client  netip.Addr
}

// CertificatesFor returns the certificates that a quote lacks. The error is a *problem if the client
// may have them later.
func (r requester) CertificatesFor(ctx context.Context, q *quote.Quote) ([]*x509.Certificate, error) {
	if data := q.Signature.CertificationData; data.Type == quote.PCKLeaf {
		leaf, err := data.Certificates()
		if err != nil {
			return nil, err
		}
		if _, err := attest.IssuerOf(leaf[0]); err != nil {
			return nil, err // a stranger's certificate: no request can help
		}
	}
	if chain := r.fetcher.client.CertificatesInMemory(q); chain != nil {
		return chain, nil
	}
	chain, err := r.fetcher.certificates.wait(ctx, r.client, platformIDOf(q))
	if err != nil && !isFinal(err) {
		return nil, &problem{http.StatusServiceUnavailable, err}
	}
	return chain, err
}

// platformID is what certificates are requested by: the certification data of a quote, and the
// ID of the QE.
type platformID struct {
	kind quote.CertificationDataType
	data string
	user [20]byte
}

func platformIDOf(q *quote.Quote) platformID {
	data := q.Signature.CertificationData
	return platformID{data.Type, string(data.Data), q.Header.UserData}
}

// quote returns a quote with nothing else.
func (id platformID) quote() *quote.Quote {
	q := new(quote.Quote)
	q.Header.UserData = id.user
	q.Signature.CertificationData = quote.CertificationData{Type: id.kind, Data: []byte(id.data)}
	return q
}

// same reports whether two have the same content: a client returns copies.
func same(a, b *attest.Collateral) bool { return reflect.DeepEqual(a, b) }

// isFinal reports whether the collateral service has no certificates for a platform, rather than
// that it did not answer, or failed.
func isFinal(err error) bool {
	if status, ok := errors.AsType[*pcs.StatusError](err); ok {
		return status.Status != http.StatusTooManyRequests && status.Status < http.StatusInternalServerError
	}
	return errors.Is(err, quote.ErrUnsupported)
}
