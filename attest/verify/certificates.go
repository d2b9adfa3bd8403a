package verify

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
)

// CertificateSource has the certificates of platforms whose quotes have none, or the PCK
// (provisioning certification key) certificate alone: a *pcs.Client, which requests them, or
// Certificates.
type CertificateSource interface {
	// CertificatesFor returns the PCK certificate, that of the CA which issued it, and that of
	// the root. They are verified with the quote. Nothing of the quote has been verified when it
	// is called: without a certificate nothing can be.
	CertificatesFor(context.Context, *quote.Quote) ([]*x509.Certificate, error)
}

// Complete returns a quote with its certificate chain: the quote itself if it has one, or else
// with that of a source. No signature covers that part of a quote, so it makes no difference where
// it comes from. Nothing is verified. A nil source has none, and the quote is returned as it is.
func Complete(ctx context.Context, q *quote.Quote, source CertificateSource) (*quote.Quote, error) {
	if source == nil || q.Signature.CertificationData.Type == quote.PCKChain {
		return q, nil
	}
	chain, err := source.CertificatesFor(ctx, q)
	if err == nil && len(chain) != 3 {
		err = fmt.Errorf("%d certificates, want those of the platform, the CA and the root", len(chain))
	}
	if err != nil {
		return nil, fmt.Errorf("verify: certificates for a quote with a %s: %w", q.Signature.CertificationData.Type, err)
	}
	completed := *q
	completed.Signature.CertificationData = quote.NewPCKChain(chain[0], chain[1], chain[2])
	return &completed, nil
}

// Certificates are certificates that a caller has, in any order: PCK certificates, and those of
// the CAs and of the root. A quote that has its PCK certificate needs only the latter.
type Certificates []*x509.Certificate

// CertificatesFor returns the chain of the PCK certificate whose key signed the QE report of the
// quote.
func (c Certificates) CertificatesFor(_ context.Context, q *quote.Quote) ([]*x509.Certificate, error) {
	candidates := c
	if q.Signature.CertificationData.Type == quote.PCKLeaf {
		var err error
		if candidates, err = q.Signature.CertificationData.Certificates(); err != nil {
			return nil, err
		}
	}
	i := slices.IndexFunc(candidates, func(pck *x509.Certificate) bool { return certifies(pck, q) })
	if i < 0 {
		return nil, fmt.Errorf("none of %d certificates has the key that signed the QE report", len(candidates))
	}
	chain := []*x509.Certificate{candidates[i]}
	for len(chain) < 3 {
		last := chain[len(chain)-1]
		i := slices.IndexFunc(c, func(issuer *x509.Certificate) bool { return bytes.Equal(issuer.RawSubject, last.RawIssuer) })
		if i < 0 {
			return nil, fmt.Errorf("the certificate of %q is missing, which issued %q", last.Issuer.CommonName, last.Subject.CommonName)
		}
		chain = append(chain, c[i])
	}
	return chain, nil
}

// With returns a source that has these certificates, and gets those that are missing from another
// one: all of them if there are none, or those of the issuers if there is only a PCK certificate.
func (c Certificates) With(source CertificateSource) CertificateSource {
	switch {
	case source == nil:
		return c
	case len(c) == 0:
		return source
	case len(c) == 1:
		return leafOnly{c[0], source}
	}
	return c
}

// leafOnly is a PCK certificate without those of its issuers, which a source has.
type leafOnly struct {
	leaf    *x509.Certificate
	issuers CertificateSource
}

// CertificatesFor gets the issuers of the certificate.
func (l leafOnly) CertificatesFor(ctx context.Context, q *quote.Quote) ([]*x509.Certificate, error) {
	if !certifies(l.leaf, q) {
		return nil, errors.New("the certificate has not the key that signed the QE report")
	}
	with := *q
	with.Signature.CertificationData = quote.CertificationData{
		Type: quote.PCKLeaf, Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.leaf.Raw}),
	}
	return l.issuers.CertificatesFor(ctx, &with)
}

// certifies reports whether a certificate is a PCK certificate whose key signed the QE report.
func certifies(pck *x509.Certificate, q *quote.Quote) bool {
	key, ok := pck.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() { // of a stranger: other curves take the processor much longer
		return false
	}
	if _, err := attest.ParsePlatform(pck); err != nil {
		return false
	}
	report, _ := q.Signature.QEReport.MarshalBinary()
	digest, signature := sha256.Sum256(report), q.Signature.QEReportSignature
	return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
}
