package ratls_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/ratls"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// Each format binds the key of its certificate, and no other.
func TestFormats(t *testing.T) {
	platforms := map[quote.TEE]*platform{quote.SGX: newPlatform(t, quote.SGX), quote.TDX: newPlatform(t, quote.TDX)}
	for _, form := range forms() {
		t.Run(form.name, func(t *testing.T) {
			p := platforms[form.tee]
			v := p.verifier(t)
			genuine := certificate(t, p, form.evidence, nil)
			peer, err := v.Verify(t.Context(), genuine)
			if err != nil {
				t.Fatal(err)
			}
			if !peer.Expires.Equal(genuine.NotAfter) {
				t.Errorf("the result expires at %s, after the certificate", peer.Expires)
			}
			if !peer.Trusted || peer.Format != form.format || peer.Quote.Header.TEE != form.tee {
				t.Errorf("trusted %v, %s, %s", peer.Trusted, peer.Format, peer.Quote.Header.TEE)
			}
			for _, name := range []attest.CheckName{ratls.CheckCertificate, ratls.CheckKeyBound, attest.CheckReportData} {
				if !slices.ContainsFunc(peer.Checks, func(c attest.Check) bool { return c.Name == name && c.Passed }) {
					t.Errorf("check %q is missing", name)
				}
			}
			for _, unchecked := range peer.NotChecked {
				if strings.Contains(string(unchecked), "key") || strings.Contains(string(unchecked), "claims") {
					t.Errorf("not checked: %s", unchecked)
				}
			}
			if want := form.name == "tagged, with a nonce and another claim"; (string(peer.Nonce) == "nonce") != want {
				t.Errorf("nonce %q", peer.Nonce)
			}

			// The evidence of another certificate.
			for what, change := range map[string]func([]byte) []byte{
				"another key":  func(key []byte) []byte { key[len(key)-1] ^= 1; return key },
				"a longer key": func(key []byte) []byte { return append(key, 0) },
			} {
				stolen := certificate(t, p, func(t testing.TB, p *platform, key []byte) []pkix.Extension {
					return form.evidence(t, p, change(bytes.Clone(key)))
				}, nil)
				if peer, err := v.Verify(t.Context(), stolen); !errors.Is(err, ratls.ErrNotBound) || peer != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// What follows the hash in the report data must be zero.
func TestReportDataIsTheHashAlone(t *testing.T) {
	p := newPlatform(t, quote.SGX)
	c := certificate(t, p, func(t testing.TB, p *platform, key []byte) []pkix.Extension {
		return extension(p.bound(t, append(sum256(key), 1)), 0, 6, 9, 42, 840, 113741, 1337, 6)
	}, nil)
	if _, err := p.verifier(t).Verify(t.Context(), c); !errors.Is(err, ratls.ErrNotBound) {
		t.Error(err)
	}
}

func TestClaims(t *testing.T) {
	p := newPlatform(t, quote.SGX)
	v := p.verifier(t)
	entry := func(parts ...any) func(testing.TB, []byte) []byte {
		return func(t testing.TB, key []byte) []byte {
			for i, part := range parts {
				if part == "sum" {
					parts[i] = sum256(key)
				}
			}
			return encodeCBOR(t, map[string][]byte{"pubkey-hash": encodeCBOR(t, parts)})
		}
	}
	raw := func(data string) func(testing.TB, []byte) []byte {
		return func(testing.TB, []byte) []byte { return []byte(data) }
	}
	hash := func(t testing.TB, key []byte) string {
		return string(encodeCBOR(t, encodeCBOR(t, []any{1, sum256(key)})))
	}
	for _, c := range []struct {
		name   string
		claims func(testing.TB, []byte) []byte
		want   string
	}{
		{"none", raw(""), "EOF"},
		{"no map", raw("\x01"), "cannot unmarshal"},
		{"null", raw("\xf6"), `there is no "pubkey-hash"`},
		{"empty", raw("\xa0"), `there is no "pubkey-hash"`},
		{"another name", func(t testing.TB, key []byte) []byte {
			return encodeCBOR(t, map[string][]byte{"pubkey": encodeCBOR(t, []any{1, sum256(key)})})
		}, `there is no "pubkey-hash"`},
		{"twice", func(t testing.TB, key []byte) []byte {
			return []byte("\xa2\x6bpubkey-hash" + hash(t, key) + "\x6bpubkey-hash" + hash(t, key))
		}, "duplicate map key"},
		{"indefinite length", func(t testing.TB, key []byte) []byte { return []byte("\xbf\x6bpubkey-hash" + hash(t, key) + "\xff") }, "indefinite-length"},
		{"bytes after them", func(t testing.TB, key []byte) []byte { return append(entry(1, "sum")(t, key), 0) }, "extraneous data"},
		{"a hash that is no byte string", func(t testing.TB, key []byte) []byte {
			return encodeCBOR(t, map[string]any{"pubkey-hash": []any{1, sum256(key)}})
		}, `"pubkey-hash": not a byte string`},
		{"an algorithm alone", entry(1), "an array of 1"},
		{"three parts", entry(1, "sum", 1), "an array of 3"},
		{"an algorithm that is text", entry("1", "sum"), "algorithm: "},
		{"a negative algorithm", entry(-1, "sum"), "algorithm: "},
		{"algorithm 0", entry(0, "sum"), "unknown hash algorithm 0"},
		{"SHA-256-128", entry(2, "sum"), "unknown hash algorithm 2"},
		{"a short hash", func(t testing.TB, key []byte) []byte { return entry(1, sum256(key)[:16])(t, key) }, "is not the SHA-256"},
		{"an empty hash", entry(1, []byte{}), "is not the SHA-256"},
		{"null for a hash", entry(1, nil), "hash: not a byte string"},
		{"a nonce that is text", func(t testing.TB, key []byte) []byte {
			return encodeCBOR(t, map[string]any{"pubkey-hash": encodeCBOR(t, []any{1, sum256(key)}), "nonce": "n"})
		}, `"nonce": not a byte string`},
	} {
		_, err := v.Verify(t.Context(), certificate(t, p, taggedWith(c.claims), nil))
		if !errors.Is(err, ratls.ErrNotBound) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}

	// Claims that the quote does not bind.
	other := certificate(t, p, func(t testing.TB, p *platform, key []byte) []pkix.Extension {
		value := tagged(t, p, keyClaims(t, 1, sum256(key)), func([]byte) []byte { return sum256([]byte("other")) })
		return extension(value, 2, 23, 133, 5, 4, 9)
	}, nil)
	if _, err := v.Verify(t.Context(), other); !errors.Is(err, ratls.ErrNotBound) {
		t.Error(err)
	}
	// SHA-384 is for trust domains only.
	other = certificate(t, p, func(t testing.TB, p *platform, key []byte) []pkix.Extension {
		return extension(tagged(t, p, keyClaims(t, 1, sum256(key)), sum384), 2, 23, 133, 5, 4, 9)
	}, nil)
	if _, err := v.Verify(t.Context(), other); !errors.Is(err, ratls.ErrNotBound) {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	p := newPlatform(t, quote.SGX)
	good := forms()[0].evidence
	for _, c := range []struct {
		name        string
		certificate func(t *testing.T) *x509.Certificate
		want        error
		text        string
	}{
		{"expired", func(t *testing.T) *x509.Certificate {
			return certificate(t, p, good, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		}, ratls.ErrCertificate, "expired at"},
		{"not valid yet", func(t *testing.T) *x509.Certificate {
			return certificate(t, p, good, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
		}, ratls.ErrCertificate, "not yet"},
		{"issued by another key under the same name", func(t *testing.T) *x509.Certificate { return issued(t, p, "RATLS") }, ratls.ErrCertificate, "signature with its own key"},
		{"issued by another name", func(t *testing.T) *x509.Certificate { return issued(t, p, "CA") }, ratls.ErrCertificate, "want a self-signed certificate"},
		{"a damaged signature", func(t *testing.T) *x509.Certificate {
			der := bytes.Clone(certificate(t, p, good, nil).Raw)
			der[len(der)-1] ^= 1
			return parse(t, der)
		}, ratls.ErrCertificate, "signature with its own key"},
		{"an unknown critical extension", func(t *testing.T) *x509.Certificate {
			return certificate(t, p, good, func(c *x509.Certificate) {
				c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
			})
		}, ratls.ErrCertificate, "critical extension 1.2.3 is unknown"},
		{"no evidence", func(t *testing.T) *x509.Certificate {
			return certificate(t, p, func(testing.TB, *platform, []byte) []pkix.Extension { return nil }, nil)
		}, evidence.ErrNoQuote, "certificate"},
		{"two quotes", func(t *testing.T) *x509.Certificate {
			return certificate(t, p, func(t testing.TB, p *platform, key []byte) []pkix.Extension {
				q := p.bound(t, sum256(key))
				return append(extension(q, 0, 6, 9, 42, 840, 113741, 1337, 6), extension(openEnclave(q), 1, 3, 6, 1, 4, 1, 311, 105, 1)...)
			}, nil)
		}, evidence.ErrAmbiguous, "two quotes"},
		{"a conceptual message with a quote alone", func(t *testing.T) *x509.Certificate {
			return certificate(t, p, func(t testing.TB, p *platform, key []byte) []pkix.Extension {
				return extension(encodeDER(t, encodeCBOR(t, []any{"application/sgx-quote", p.bound(t, sum256(key))})), 1, 3, 6, 1, 5, 5, 7, 1, 35)
			}, nil)
		}, ratls.ErrUnknownFormat, "certificate > CMW record > quote"},
		{"a conceptual message with an Open Enclave report", func(t *testing.T) *x509.Certificate {
			return certificate(t, p, func(t testing.TB, p *platform, key []byte) []pkix.Extension {
				return extension(encodeDER(t, encodeCBOR(t, []any{"application/report", openEnclave(p.bound(t, sum256(key)))})), 1, 3, 6, 1, 5, 5, 7, 1, 35)
			}, nil)
		}, ratls.ErrUnknownFormat, "certificate > CMW record > Open Enclave report > quote"},
		{"a certificate in a certificate", func(t *testing.T) *x509.Certificate {
			return certificate(t, p, func(t testing.TB, p *platform, key []byte) []pkix.Extension {
				return extension(encodeDER(t, encodeCBOR(t, []any{"application/pkix-cert", certificate(t, p, good, nil).Raw})), 1, 3, 6, 1, 5, 5, 7, 1, 35)
			}, nil)
		}, ratls.ErrUnknownFormat, "certificate > CMW record > certificate"},
		{"another enclave", func(t *testing.T) *x509.Certificate {
			other := newPlatform(t, quote.SGX)
			other.signer = sgx.Measurement{9}
			return certificate(t, other, good, nil)
		}, attest.ErrNotTrusted, "MRSIGNER"},
	} {
		_, err := p.verifier(t).Verify(t.Context(), c.certificate(t))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.want, c.text)
		}
	}

	// The extensions with evidence may be critical, as TCG DICE wants.
	critical := certificate(t, p, good, func(c *x509.Certificate) { c.ExtraExtensions[0].Critical = true })
	if _, err := p.verifier(t).Verify(t.Context(), critical); err != nil {
		t.Error(err)
	}
}

// issued returns a certificate with evidence that another key has signed.
func issued(t *testing.T, p *platform, issuer string) *x509.Certificate {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKIXPublicKey(own.Public())
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "RATLS"}, NotAfter: time.Now().Add(time.Hour), ExtraExtensions: forms()[0].evidence(t, p, key)}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: pkix.Name{CommonName: issuer}}, own.Public(), ca)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, der)
}

// A peer that is refused before its quote is verified causes no request.
func TestRefusedWithoutCollateral(t *testing.T) {
	p := newPlatform(t, quote.SGX)
	v := p.verifier(t)
	v.Evidence = &verify.Verifier{Roots: v.Evidence.Roots, Source: noSource{t}}
	for name, with := range map[string]evidenceFor{
		"another key": func(t testing.TB, p *platform, key []byte) []pkix.Extension {
			return forms()[0].evidence(t, p, append(key, 0))
		},
		"no evidence": func(testing.TB, *platform, []byte) []pkix.Extension { return nil },
	} {
		if _, err := v.Verify(t.Context(), certificate(t, p, with, nil)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestArguments(t *testing.T) {
	p := newPlatform(t, quote.SGX)
	c := certificate(t, p, forms()[0].evidence, nil)
	v := p.verifier(t)
	v.Policy.ReportData = []byte{1}
	if _, err := v.Verify(t.Context(), c); err == nil || !strings.Contains(err.Error(), "ReportData is set") {
		t.Error(err)
	}
	if _, err := new(ratls.Verifier).Verify(t.Context(), c); err == nil || !strings.Contains(err.Error(), "Evidence is not set") {
		t.Error(err)
	}
}
