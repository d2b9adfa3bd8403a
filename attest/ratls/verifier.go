package ratls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/quote"
)

// The reasons why a peer is refused before its quote is verified. The errors of a Verifier wrap
// one of them, or are those of packages evidence and verify.
var (
	// ErrNoCertificate means that the peer has shown no certificate.
	ErrNoCertificate = errors.New("the peer has no certificate")
	// ErrCertificate means that the certificate is not self-signed, or not valid now.
	ErrCertificate = errors.New("certificate")
	// ErrUnknownFormat means that no specification says how evidence in such a form binds the
	// key of a certificate.
	ErrUnknownFormat = errors.New("evidence in a form that binds no key")
	// ErrNotBound means that the evidence does not bind the key of the certificate: it is about
	// another one.
	ErrNotBound = errors.New("the evidence is not about the key of the certificate")
)

// The checks that a Verifier adds to a result.
const (
	// CheckCertificate checks that the certificate is self-signed and valid.
	CheckCertificate attest.CheckName = "certificate"
	// CheckKeyBound checks that the report data binds the key of the certificate, by the format.
	CheckKeyBound attest.CheckName = "certificate key"
)

// DefaultTimeout bounds the verification in a handshake.
const DefaultTimeout = 10 * time.Second

// Verifier accepts peers by the evidence in their certificates. Its fields must not be changed
// after its first use. It is safe for concurrent use.
type Verifier struct {
	// Evidence verifies the quotes. Its time is that of the verification of certificates.
	Evidence *verify.Verifier
	// Policy is the appraisal policy. Its ReportData must be nil: the report data binds the key.
	Policy attest.Policy
	// Accept, if set, is called in each handshake with a trusted peer, also if a session is
	// resumed. Its error refuses the peer. That the peer has the key of its certificate, TLS shows
	// later in the handshake: act on what Accept has seen when that has succeeded.
	Accept func(tls.ConnectionState, *Peer) error
	// Timeout bounds the verification in a handshake, which may fetch collateral; 0 means
	// DefaultTimeout.
	Timeout time.Duration
}

// Peer is what is known about a peer with evidence.
type Peer struct {
	// Result is the attestation result, with the checks of this package. It expires with the
	// certificate at the latest.
	*verify.Result
	// Format is how the evidence binds the key of the certificate.
	Format Format
	// Nonce is the claim of that name in FormatTagged, or nil. Comparing it is up to the caller.
	Nonce []byte
}

// ClientConfig returns a configuration for clients, which accepts a server by the evidence in its
// certificate, whatever its name and address. Add GetClientCertificate of an Attester for servers
// that want evidence as well.
//
// TLS 1.3 is required. Some versions of Mbed TLS, as in Gramine, have TLS 1.2 only: lower
// MinVersion for them.
func (v *Verifier) ClientConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The certificate is verified by VerifyConnection, which is called for resumed sessions
		// as well. VerifyPeerCertificate is not.
		InsecureSkipVerify: true,
		VerifyConnection:   v.VerifyConnection,
	}
}

// ServerConfig returns a configuration for servers, which accepts a client only with evidence in
// its certificate. Add GetCertificate of an Attester, or another certificate of the server.
func (v *Verifier) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		ClientAuth:       tls.RequireAnyClientCert,
		VerifyConnection: v.VerifyConnection,
	}
}

// VerifyConnection verifies the peer of a connection. It is for the field of that name in a
// tls.Config.
func (v *Verifier) VerifyConnection(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return fmt.Errorf("ratls: %w", ErrNoCertificate)
	}
	timeout := v.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout) // TLS has no context for this
	defer cancel()
	peer, err := v.Verify(ctx, state.PeerCertificates[0])
	if err != nil {
		return err
	}
	if v.Accept != nil {
		return v.Accept(state, peer)
	}
	return nil
}

// Verify verifies the certificate of a peer, for example after a handshake to see what its
// verification has found: with what the Verifier remembers, that costs a few signature
// verifications.
//
// The error is nil if and only if the evidence is trusted and about the key of the certificate.
// That the peer has this key is what a handshake shows. The Peer is nil if the quote was not
// verified; otherwise its Result has all checks.
func (v *Verifier) Verify(ctx context.Context, certificate *x509.Certificate) (*Peer, error) {
	switch {
	case certificate == nil:
		return nil, fmt.Errorf("ratls: %w", ErrNoCertificate)
	case v.Evidence == nil:
		return nil, errors.New("ratls: Verifier.Evidence is not set")
	case v.Policy.ReportData != nil:
		return nil, errors.New("ratls: Verifier.Policy: ReportData is set, but the report data binds the key of the certificate")
	}
	now := time.Now
	if v.Evidence.Now != nil {
		now = v.Evidence.Now
	}
	e, err := evidence.Parse(certificate.Raw)
	if err != nil {
		return nil, fmt.Errorf("ratls: %w", err)
	}
	signed, err := checkCertificate(certificate, now())
	if err != nil {
		return nil, fmt.Errorf("ratls: %w: %w", ErrCertificate, err)
	}
	bound, err := bind(e, certificate.RawSubjectPublicKeyInfo)
	if err != nil {
		return nil, fmt.Errorf("ratls: %w", err)
	}
	data := e.Parsed.ReportData()
	policy := v.Policy
	policy.ReportData = quote.HexBytes(data[:]) // it is as it must be
	result, err := v.Evidence.VerifyParsed(ctx, e, policy)
	if result == nil {
		return nil, err
	}
	result.Checks = append(result.Checks,
		attest.Check{Name: CheckCertificate, Passed: true, Detail: signed},
		attest.Check{Name: CheckKeyBound, Passed: true, Detail: bound.detail})
	if certificate.NotAfter.Before(result.Expires) {
		result.Expires = certificate.NotAfter
	}
	result.NotChecked = slices.DeleteFunc(result.NotChecked, checkedHere)
	return &Peer{Result: result, Format: bound.format, Nonce: bound.nonce}, err
}

// checkedHere reports whether a Verifier has checked what a verification of the quote alone does
// not.
func checkedHere(u attest.Unchecked) bool {
	switch string(u) {
	case evidence.UncheckedCertificate, evidence.UncheckedPublicKey, evidence.UncheckedCustomClaims:
		return true
	}
	return false
}
