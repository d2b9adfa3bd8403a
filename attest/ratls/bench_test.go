package ratls_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"github.com/confcom/confcom/quote"
)

// A certificate of a known platform, whose collateral is known. Compare with BenchmarkP256: the
// signatures of certificate, QE report and quote are verified.
func BenchmarkVerify(b *testing.B) {
	p := newPlatform(b, quote.SGX)
	v := p.verifier(b)
	c := certificate(b, p, forms()[0].evidence, nil)
	for b.Loop() {
		if _, err := v.Verify(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}

// The verification of one P-256 signature.
func BenchmarkP256(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	sum := sha256.Sum256([]byte("signed"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], signature) {
			b.Fatal("refused")
		}
	}
}
