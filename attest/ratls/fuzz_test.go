package ratls_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/confcom/confcom/attest/ratls"
	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/quote"
)

// Whatever certificate is accepted binds its key by evidence in one of the formats. Whatever
// extension is put around the key of a certificate is read without a panic.
func FuzzVerify(f *testing.F) {
	p := newPlatform(f, quote.SGX)
	for _, form := range forms() {
		if form.tee == p.tee {
			f.Add(certificate(f, p, form.evidence, nil).Raw)
		}
	}
	v := p.verifier(f)
	// Certificates are made once, and found in the corpus later.
	now := time.Now()
	v.Evidence.Now = func() time.Time { return now }
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		peer, err := v.Verify(t.Context(), c)
		if (err == nil) != (peer != nil && peer.Trusted) {
			t.Errorf("%v, %+v", err, peer)
		}
	})
}

// The claims of tagged evidence are varied, and bound by the report data as they are: only claims
// with a hash of the key are accepted.
func FuzzClaims(f *testing.F) {
	p := newPlatform(f, quote.SGX)
	f.Add([]byte{}, []byte{})
	f.Add(keyClaims(f, 1, nil)[:13], []byte{})
	for _, algorithm := range []int{1, 7, 8} {
		whole := keyClaims(f, algorithm, sum256([]byte("key")))
		f.Add(whole[:len(whole)-32], []byte{})
		f.Add(whole[:len(whole)-32], []byte("\x65nonce\x41\x01"))
	}
	v := p.verifier(f)
	f.Fuzz(func(t *testing.T, before, after []byte) {
		var claims []byte
		c := certificate(t, p, taggedWith(func(_ testing.TB, key []byte) []byte {
			claims = append(append(append([]byte{}, before...), sum256(key)...), after...)
			return claims
		}), nil)
		peer, err := v.Verify(t.Context(), c)
		if err != nil {
			return
		}
		if peer.Format != ratls.FormatTagged || len(before) == 0 {
			t.Errorf("%x is accepted: %+v", claims, peer)
		}
		e, err := evidence.Parse(c.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if bound, _ := e.Attached(evidence.CustomClaims); string(bound) != string(claims) {
			t.Errorf("%x, want %x", bound, claims)
		}
	})
}
