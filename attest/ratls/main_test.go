package ratls_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"go.uber.org/goleak"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/ratls"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
	"github.com/confcom/confcom/tdx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// signer is the MRSIGNER of the simulated enclave, and firmware the MRTD of the trust domain.
func signer() sgx.Measurement   { return sgx.Measurement{2} }
func firmware() tdx.Measurement { return tdx.Measurement{3} }

// policy accepts them.
func policy() attest.Policy {
	return attest.Policy{MRSigners: []sgx.Measurement{signer()}, TrustDomain: &attest.TDPolicy{MRTDs: []tdx.Measurement{firmware()}}}
}

// platform makes quotes and has the collateral for them.
type platform struct {
	signer sgx.Measurement

	mu         sync.Mutex
	issuer     *attesttest.Issuer
	collateral *attest.Collateral
	tee        quote.TEE
}

func newPlatform(t testing.TB, tee quote.TEE) *platform {
	t.Helper()
	issue := attesttest.NewIssuer
	if tee == quote.TDX {
		issue = attesttest.NewTDXIssuer
	}
	issuer, err := issue("node-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	collateral, err := issuer.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	return &platform{signer: signer(), issuer: issuer, collateral: collateral, tee: tee}
}

// Quote returns a quote with report data.
func (p *platform) Quote(_ context.Context, data sgx.ReportData) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var (
		q   *quote.Quote
		err error
	)
	if p.tee == quote.TDX {
		td := attesttest.TrustDomain()
		td.MRTD, td.ReportData = firmware(), data
		q, err = p.issuer.QuoteTD(td)
	} else {
		q, err = p.issuer.Quote(sgx.ReportBody{
			Attributes: sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagMode64Bit, XFRM: 3}, MRSigner: p.signer, ReportData: data})
	}
	if err != nil {
		return nil, err
	}
	return q.MarshalBinary()
}

// verifier returns a verifier that trusts the platform.
func (p *platform) verifier(t testing.TB) *ratls.Verifier {
	t.Helper()
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	return &ratls.Verifier{Evidence: &verify.Verifier{Roots: []attest.Root{root}, Source: p.collateral}, Policy: policy()}
}

// bound returns a quote whose report data begins with sum.
func (p *platform) bound(t testing.TB, sum []byte) []byte {
	t.Helper()
	var data sgx.ReportData
	copy(data[:], sum)
	q, err := p.Quote(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// evidenceFor returns the extension of a certificate for a key.
type evidenceFor func(t testing.TB, p *platform, key []byte) []pkix.Extension

func sum256(data []byte) []byte { sum := sha256.Sum256(data); return sum[:] }
func sum384(data []byte) []byte { sum := sha512.Sum384(data); return sum[:] }
func sum512(data []byte) []byte { sum := sha512.Sum512(data); return sum[:] }

func pemOf(key []byte) []byte {
	return append(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: key}), 0)
}

func extension(value []byte, oid ...int) []pkix.Extension {
	return []pkix.Extension{{Id: oid, Value: value}}
}

func encodeCBOR(t testing.TB, v any) []byte {
	t.Helper()
	data, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// openEnclave returns data behind the header of an Open Enclave report.
func openEnclave(data []byte) []byte {
	p := binary.LittleEndian.AppendUint32(nil, 1)
	p = binary.LittleEndian.AppendUint32(p, 2)
	p = binary.LittleEndian.AppendUint64(p, uint64(len(data)))
	return append(p, data...)
}

// openEnclaveEvidence returns data behind the header of Open Enclave evidence of the format
// SGX_ECDSA.
func openEnclaveEvidence(data []byte) []byte {
	p := binary.LittleEndian.AppendUint32(nil, 3)
	p = append(p, 0xa3, 0xa2, 0x1e, 0x87, 0x1b, 0x4d, 0x40, 0x14, 0xb7, 0x0a, 0xa1, 0x25, 0xd2, 0xfb, 0xcd, 0x8c)
	p = binary.LittleEndian.AppendUint64(p, uint64(len(data)))
	return append(p, data...)
}

// keyClaims returns claims with the hash of a key.
func keyClaims(t testing.TB, algorithm int, sum []byte) []byte {
	return encodeCBOR(t, map[string][]byte{"pubkey-hash": encodeCBOR(t, []any{algorithm, sum})})
}

// tagged returns tagged evidence with claims that the report data binds with a hash.
func tagged(t testing.TB, p *platform, claims []byte, hash func([]byte) []byte) []byte {
	return encodeCBOR(t, cbor.Tag{Number: 60000, Content: [][]byte{p.bound(t, hash(claims)), claims}})
}

// taggedWith returns evidence with claims about the key.
func taggedWith(claims func(t testing.TB, key []byte) []byte) evidenceFor {
	return func(t testing.TB, p *platform, key []byte) []pkix.Extension {
		return extension(tagged(t, p, claims(t, key), sum256), 2, 23, 133, 5, 4, 9)
	}
}

func encodeDER(t testing.TB, v any) []byte {
	t.Helper()
	data, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// certificate returns a self-signed certificate with evidence for its key.
func certificate(t testing.TB, p *platform, with evidenceFor, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "RATLS"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtraExtensions: with(t, p, key),
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, der)
}

func parse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// form is evidence in a format.
type form struct {
	name     string
	tee      quote.TEE
	format   ratls.Format
	evidence evidenceFor
}

// forms returns every way to bind a key.
func forms() []form {
	keyHash := func(algorithm int, hash func([]byte) []byte) evidenceFor {
		return taggedWith(func(t testing.TB, key []byte) []byte { return keyClaims(t, algorithm, hash(key)) })
	}
	// raw returns the quote alone, whose report data is a hash.
	raw := func(hash func(key []byte) []byte, wrap func(t testing.TB, quote []byte) []byte, oid ...int) evidenceFor {
		return func(t testing.TB, p *platform, key []byte) []pkix.Extension {
			return extension(wrap(t, p.bound(t, hash(key))), oid...)
		}
	}
	asIs := func(_ testing.TB, quote []byte) []byte { return quote }
	report := func(_ testing.TB, quote []byte) []byte { return openEnclave(quote) }
	sum256OfPEM := func(key []byte) []byte { return sum256(pemOf(key)) }
	return []form{
		{"tagged, SHA-256", quote.SGX, ratls.FormatTagged, keyHash(1, sum256)},
		{"tagged, SHA-384", quote.SGX, ratls.FormatTagged, keyHash(7, sum384)},
		{"tagged, SHA-512", quote.SGX, ratls.FormatTagged, keyHash(8, sum512)},
		{"tagged, TDX", quote.TDX, ratls.FormatTagged, keyHash(1, sum256)},
		{"tagged, TDX of Intel's SDK", quote.TDX, ratls.FormatTagged, func(t testing.TB, p *platform, key []byte) []pkix.Extension {
			return extension(tagged(t, p, keyClaims(t, 7, sum384(key)), sum384), 2, 23, 133, 5, 4, 9)
		}},
		{"tagged, with a nonce and another claim", quote.SGX, ratls.FormatTagged, taggedWith(func(t testing.TB, key []byte) []byte {
			return encodeCBOR(t, map[string]any{"pubkey-hash": encodeCBOR(t, []any{1, sum256(key)}), "nonce": []byte("nonce"), "other": 1})
		})},
		{"tagged in a conceptual message", quote.SGX, ratls.FormatTagged, func(t testing.TB, p *platform, key []byte) []pkix.Extension {
			message := encodeCBOR(t, []any{"application/tee-evidence", tagged(t, p, keyClaims(t, 1, sum256(key)), sum256)})
			return extension(encodeDER(t, message), 1, 3, 6, 1, 5, 5, 7, 1, 35)
		}},
		{"Gramine 1.8, with another quote for older verifiers", quote.SGX, ratls.FormatTagged, func(t testing.TB, p *platform, key []byte) []pkix.Extension {
			return append(extension(tagged(t, p, keyClaims(t, 1, sum256(key)), sum256), 2, 23, 133, 5, 4, 9),
				extension(p.bound(t, sum256(key)), 0, 6, 9, 42, 840, 113741, 1337, 6)...)
		}},
		{"Gramine", quote.SGX, ratls.FormatGramine, raw(sum256, asIs, 0, 6, 9, 42, 840, 113741, 1337, 6)},
		{"Intel SGX SDK", quote.SGX, ratls.FormatIntel, raw(sum256OfPEM, asIs, 1, 2, 840, 113741, 1, 13, 1)},
		{"Intel SGX SDK, TDX", quote.TDX, ratls.FormatIntel, raw(func(key []byte) []byte { return sum384(pemOf(key)) }, asIs, 1, 2, 840, 113741, 1, 13, 1)},
		{"Open Enclave report", quote.SGX, ratls.FormatOpenEnclave, raw(sum256OfPEM, report, 1, 2, 840, 113556, 10, 1, 1)},
		{"EGo", quote.SGX, ratls.FormatOpenEnclave, raw(sum256, report, 1, 3, 6, 1, 4, 1, 311, 105, 1)},
		{"Open Enclave evidence", quote.SGX, ratls.FormatOpenEnclave, func(t testing.TB, p *platform, key []byte) []pkix.Extension {
			claims := pemOf(key)
			return extension(openEnclaveEvidence(bytes.Join([][]byte{p.bound(t, sum256(claims)), claims}, nil)), 1, 3, 6, 1, 4, 1, 311, 105, 2)
		}},
		{"dstack", quote.TDX, ratls.FormatDstack, raw(func(key []byte) []byte { return sum512(append([]byte("ratls-cert:"), key...)) },
			func(t testing.TB, quote []byte) []byte { return encodeDER(t, quote) }, 1, 3, 6, 1, 4, 1, 62397, 1, 1)},
	}
}

// noSource is a source of collateral that must not be asked.
type noSource struct{ t *testing.T }

func (s noSource) CollateralFor(context.Context, attest.Family) (*attest.Collateral, error) {
	s.t.Error("collateral was requested")
	return nil, errors.New("no collateral")
}
