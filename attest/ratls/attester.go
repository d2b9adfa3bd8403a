package ratls

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// AttesterConfig configures an Attester.
type AttesterConfig struct {
	// Quote returns a quote of this enclave or trust domain with this report data. It is required. An
	// enclave makes a report in the callback of aesm.Client.Quote.
	Quote func(context.Context, sgx.ReportData) ([]byte, error)
	// Lifetime is how long a certificate is valid; 0 means DefaultLifetime. After two thirds of
	// it, Run replaces the certificate. A verifier sees the state of the platform when the quote
	// was made, so a certificate should not live longer than that may be old.
	Lifetime time.Duration
	// Name is the common name of the certificate; empty means "RA-TLS". Verifiers do not rely on
	// it.
	Name string
	// DNSNames are the names in the certificate, for clients that insist on them.
	DNSNames []string
	// Rotated, if set, is called by Run for each new certificate, and each time that making one
	// fails, with its error.
	Rotated func(*x509.Certificate, error)
}

// DefaultLifetime is how long certificates are valid by default.
const DefaultLifetime = 24 * time.Hour

// Before a certificate is valid, in case that the peer's clock is behind.
const clockSkew = 5 * time.Minute

// Attester keeps a certificate with evidence, and replaces it by one with a new key and a new
// quote. It is safe for concurrent use.
type Attester struct {
	config AttesterConfig

	mu      sync.Mutex
	current *tls.Certificate
	failure error // why the certificate could not be replaced
}

// NewAttester makes the first certificate. Call Run to have it replaced before it expires.
func NewAttester(ctx context.Context, config AttesterConfig) (*Attester, error) {
	switch {
	case config.Quote == nil:
		return nil, errors.New("ratls: AttesterConfig.Quote is not set")
	case config.Lifetime < 0:
		return nil, fmt.Errorf("ratls: AttesterConfig.Lifetime is %v, want more than 0", config.Lifetime)
	}
	if config.Lifetime == 0 {
		config.Lifetime = DefaultLifetime
	}
	if config.Name == "" {
		config.Name = "RA-TLS"
	}
	a := &Attester{config: config}
	if err := a.rotate(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// Run replaces the certificate before it expires, until ctx ends. If that fails, it tries again,
// and the certificate stays in use until it expires.
func (a *Attester) Run(ctx context.Context) {
	for {
		next := time.NewTimer(time.Until(a.nextRotation()))
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C:
		}
		// A quote that takes longer than half of what remains is given up, for another attempt.
		attempt, cancel := context.WithTimeout(ctx, a.config.Lifetime/6)
		err := a.rotate(attempt)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if a.config.Rotated == nil {
			continue
		}
		if err != nil {
			a.config.Rotated(nil, err)
		} else {
			a.config.Rotated(a.Certificate().Leaf, nil)
		}
	}
}

// nextRotation returns when to replace the certificate: at two thirds of its lifetime, and if that
// fails, twenty times in the last third.
func (a *Attester) nextRotation() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failure != nil {
		return time.Now().Add(max(a.config.Lifetime/3/20, time.Second))
	}
	return a.current.Leaf.NotAfter.Add(-a.config.Lifetime / 3)
}

// Certificate returns the current certificate, which may have expired.
func (a *Attester) Certificate() *tls.Certificate {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current
}

// GetCertificate returns the current certificate. It is for the field of that name in a tls.Config.
func (a *Attester) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.valid() }

// GetClientCertificate is GetCertificate for clients.
func (a *Attester) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return a.valid()
}

// valid returns the current certificate unless it has expired.
func (a *Attester) valid() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if until := a.current.Leaf.NotAfter; time.Now().After(until) {
		if a.failure != nil {
			return nil, fmt.Errorf("ratls: the certificate expired at %s: %w", stamp(until), a.failure)
		}
		return nil, fmt.Errorf("ratls: the certificate expired at %s: Attester.Run replaces it", stamp(until))
	}
	return a.current, nil
}

// rotate makes a certificate and puts it into use.
func (a *Attester) rotate(ctx context.Context) error {
	made, err := a.issue(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failure = err
	if err != nil {
		return err
	}
	a.current = made
	return nil
}

// issue makes a certificate with a new key.
func (a *Attester) issue(ctx context.Context) (*tls.Certificate, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("ratls: make a key: %w", err)
	}
	extension, err := a.evidence(ctx, &private.PublicKey)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: a.config.Name},
		DNSNames:              a.config.DNSNames,
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(a.config.Lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		ExtraExtensions:       []pkix.Extension{extension},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, fmt.Errorf("ratls: make a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("ratls: make a certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, nil
}

// evidence returns an extension that binds a key. It is not critical, although TCG DICE wants that:
// OpenSSL and Mbed TLS refuse certificates with critical extensions that they do not know.
func (a *Attester) evidence(ctx context.Context, public *ecdsa.PublicKey) (pkix.Extension, error) {
	key, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("ratls: encode the key: %w", err)
	}
	claims, err := newClaims(key)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("ratls: encode the claims: %w", err)
	}
	var want sgx.ReportData
	sum := sha256.Sum256(claims)
	copy(want[:], sum[:])
	data, err := a.config.Quote(ctx, want)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("ratls: get a quote: %w", err)
	}
	q, err := quote.Parse(data)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("ratls: the quote that was made: %w", err)
	}
	if got := q.ReportData(); got != want {
		return pkix.Extension{}, fmt.Errorf("ratls: the quote that was made has the report data %s, want %s", got, want)
	}
	value, err := taggedEvidence(data, claims)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("ratls: encode the evidence: %w", err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 23, 133, 5, 4, 9}, Value: value}, nil // tcg-dice-conceptual-message-wrapper
}
