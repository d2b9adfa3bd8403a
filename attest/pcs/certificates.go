package pcs

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
)

// maxCertificates is how many certificate chains of platforms a client keeps.
const maxCertificates = 1000

// CertificatesFor requests the certificates that a quote lacks: the PCK certificate by the PPID
// (platform provisioning ID) or the QE ID in the quote, and the certificates of the CA and the
// root. It returns them in this order. They are not verified.
//
// Nothing of such a quote can be verified before, so its maker chooses for which platform the
// request is. A Client is a verify.CertificateSource for programs that accept this.
//
// A failure is remembered for 10 seconds to 5 minutes, in which calls for the same platform return
// the same error without a request.
//
// Intel's service has certificates for quotes of type quote.PPIDRSA3072, and requires
// Client.SubscriptionKey. A PCCS has those of all types for platforms that it knows. Azure's cache
// has none. If the service cannot have them, the error wraps quote.ErrUnsupported.
func (c *Client) CertificatesFor(ctx context.Context, q *quote.Quote) ([]*x509.Certificate, error) {
	c.mu.Lock()
	err := c.start()
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	p, leaf, err := c.missing(q)
	if err != nil {
		return nil, err
	}
	r, err := c.certificateResponse(ctx, p)
	if err != nil {
		return nil, err
	}
	chain, err := certificates(p, r, leaf)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.kept, p.url)
		c.failedCertificates.note(p.url, err, time.Now())
	}
	return chain, err
}

// CertificatesInMemory returns what CertificatesFor returns without a request, or nil.
func (c *Client) CertificatesInMemory(q *quote.Quote) []*x509.Certificate {
	p, leaf, err := c.missing(q)
	if err != nil {
		return nil
	}
	c.mu.Lock()
	kept := c.kept[p.url]
	c.mu.Unlock()
	if kept == nil {
		return nil
	}
	chain, err := certificates(p, kept, leaf)
	if err != nil {
		return nil
	}
	return chain
}

// missing returns the part that has the certificates that a quote lacks, and the PCK certificate if
// the quote has it.
func (c *Client) missing(q *quote.Quote) (p part, leaf []*x509.Certificate, err error) {
	data := q.Signature.CertificationData
	if data.Type != quote.PCKLeaf {
		p, err = c.Service.pckCertificate(q)
		if err == nil && p.restricted && c.SubscriptionKey == "" {
			err = fmt.Errorf("pcs: %w: Intel's service gives PCK certificates only to clients with a subscription key: pass the PCK certificate, or ask the PCCS of the platform", quote.ErrUnsupported)
		}
		return p, nil, err
	}
	if leaf, err = data.Certificates(); err != nil {
		return part{}, nil, err
	}
	ca, err := attest.IssuerOf(leaf[0])
	if err != nil {
		return part{}, nil, err
	}
	_, p, _, _ = c.Service.parts(Family{CA: ca}, "")
	return p, leaf, nil
}

// certificates returns the certificates in the body of a response, unless leaf has them already,
// and in its issuer chain.
func certificates(p part, r *response, leaf []*x509.Certificate) ([]*x509.Certificate, error) {
	if leaf == nil {
		var err error
		if leaf, err = quote.ParseCertificates(r.Body); err == nil && len(leaf) != 1 {
			err = fmt.Errorf("%d certificates, want one", len(leaf))
		}
		if err != nil {
			return nil, fmt.Errorf("pcs: get %s: PCK certificate: %w", p.url, err)
		}
	}
	issuers, err := quote.ParseCertificates([]byte(r.Chain))
	if err == nil && len(issuers) != 2 {
		err = fmt.Errorf("%d certificates, want those of the CA and of the root", len(issuers))
	}
	if err != nil {
		return nil, fmt.Errorf("pcs: get %s: issuer chain: %w", p.url, err)
	}
	return append(leaf[:1:1], issuers...), nil
}

// certificateResponse returns a response that was kept, or requests it. Certificates do not change,
// and CRLs say which are revoked.
func (c *Client) certificateResponse(ctx context.Context, p part) (*response, error) {
	c.mu.Lock()
	kept, failed := c.kept[p.url], c.failedCertificates.at(p.url, time.Now())
	c.mu.Unlock()
	switch {
	case kept != nil:
		return kept, nil
	case failed != nil:
		return nil, failed
	}
	pauses := newPacing()
	r, err := backoff.Retry(ctx, func() (*response, error) {
		r, err := c.request(ctx, p, nil)
		return r, pauses.classify(err)
	}, backoff.WithBackOff(pauses), backoff.WithMaxTries(uint(max(cmp.Or(c.Attempts, defaultAttempts), 1))), backoff.WithMaxElapsedTime(0))
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			c.failedCertificates.note(p.url, err, time.Now())
		}
		return nil, err
	}
	delete(c.failedCertificates, p.url)
	if len(c.kept) >= maxCertificates {
		for other := range c.kept { // an arbitrary one
			delete(c.kept, other)
			break
		}
	}
	if c.kept == nil {
		c.kept = make(map[string]*response)
	}
	c.kept[p.url] = r
	return r, nil
}

// pckCertificate returns the part that is the PCK certificate of the platform of a quote.
func (s Service) pckCertificate(q *quote.Quote) (part, error) {
	data := q.Signature.CertificationData
	id, err := data.PlatformID()
	switch {
	case err != nil:
		return part{}, err
	case s.kind == azure:
		return part{}, fmt.Errorf("pcs: %w: Azure's cache has no PCK certificates of other machines: have the quote made with its certificates, or pass the PCK certificate", quote.ErrUnsupported)
	case s.kind == intel && data.Type != quote.PPIDRSA3072:
		return part{}, fmt.Errorf("pcs: %w: the quote has a %s, and Intel's service knows platforms by a %s: pass the PCK certificate, or ask the PCCS of the platform", quote.ErrUnsupported, data.Type, quote.PPIDRSA3072)
	}
	query := url.Values{}
	query.Set("cpusvn", hex.EncodeToString(id.CPUSVN[:]))
	query.Set("pcesvn", littleEndian(id.PCESVN))
	var pceID uint16 // of Intel's only PCE, if the quote does not have it
	if id.PCEID != nil {
		pceID = *id.PCEID
	}
	query.Set("pceid", littleEndian(pceID))
	if data.Type == quote.PPIDRSA3072 {
		query.Set("encrypted_ppid", hex.EncodeToString(id.PPID))
	}
	if s.kind == pccs {
		query.Set("qeid", hex.EncodeToString(q.Header.UserData[:16]))
	}
	return part{name: "the PCK certificate", url: s.base + "pckcert?" + query.Encode(), chain: []string{"SGX-PCK-Certificate-Issuer-Chain"}, restricted: s.kind == intel}, nil
}

// littleEndian returns the two bytes of a number as services expect them.
func littleEndian(n uint16) string { return fmt.Sprintf("%02x%02x", n&0xff, n>>8) }
