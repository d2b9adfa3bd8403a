package attest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/internal/platform/simulated"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// simulatedQuote returns a quote of a simulated platform.
func simulatedQuote(body sgx.ReportBody) (*quote.Quote, error) {
	platform, err := simulated.New("node-1")
	if err != nil {
		return nil, err
	}
	initialized, err := platform.InitQuote(context.Background())
	if err != nil {
		return nil, err
	}
	report, err := simulation.DefaultCPU().Report(body, initialized.TargetInfo)
	if err != nil {
		return nil, err
	}
	quoted, err := platform.Quote(context.Background(), report, nil)
	if err != nil {
		return nil, err
	}
	return quote.Parse(quoted.Quote)
}

func newQuote(t testing.TB, body sgx.ReportBody) *quote.Quote {
	t.Helper()
	q, err := simulatedQuote(body)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func simulatedRoot(t testing.TB) attest.Root {
	t.Helper()
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

var today = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func TestVerify(t *testing.T) {
	onPurpose := attest.Options{At: today, Roots: []attest.Root{simulatedRoot(t)}}
	enclave := sgx.ReportBody{MREnclave: sgx.Measurement{1}}
	debug := enclave
	debug.Attributes.Flags = sgx.FlagDebug
	for _, c := range []struct {
		name    string
		body    sgx.ReportBody
		options attest.Options
		change  func(*quote.Quote)
		failed  []string
	}{
		{"simulated, root given on purpose", enclave, onPurpose, nil, nil},
		{"simulated, among several roots", enclave, attest.Options{At: today, Roots: []attest.Root{attest.IntelRoot(), simulatedRoot(t)}}, nil, nil},
		{"simulated, Intel's root", enclave, attest.Options{At: today, Roots: []attest.Root{attest.IntelRoot()}}, nil, []string{"trusted root"}},
		{"debug enclave", debug, onPurpose, nil, []string{"debug mode"}},
		{"debug enclave, allowed", debug, attest.Options{At: today, Roots: onPurpose.Roots, AllowDebug: true}, nil, nil},
		{"changed enclave", enclave, onPurpose, func(q *quote.Quote) { q.Enclave.MREnclave[0] ^= 1 }, []string{"quote signature"}},
		{"changed header", enclave, onPurpose, func(q *quote.Quote) { q.Header.QESVN++ }, []string{"quote signature"}},
		{"changed signature", enclave, onPurpose, func(q *quote.Quote) { q.Signature.Signature[63] ^= 1 }, []string{"quote signature"}},
		{"signature of zeros", enclave, onPurpose, func(q *quote.Quote) { q.Signature.Signature = quote.Signature{} }, []string{"quote signature"}},
		{"key off the curve", enclave, onPurpose, func(q *quote.Quote) { q.Signature.AttestationKey[63] ^= 1 }, []string{"attestation key binding", "quote signature"}},
		{"other auth data", enclave, onPurpose, func(q *quote.Quote) { q.Signature.QEAuthData[0] ^= 1 }, []string{"attestation key binding"}},
		{"tail of the QE's report data", enclave, onPurpose, func(q *quote.Quote) { q.Signature.QEReport.ReportData[63] = 1 }, []string{"QE report signature", "attestation key binding"}},
		{"changed QE", enclave, onPurpose, func(q *quote.Quote) { q.Signature.QEReport.ISVSVN++ }, []string{"QE report signature"}},
		{"QE signature of zeros", enclave, onPurpose, func(q *quote.Quote) { q.Signature.QEReportSignature = quote.Signature{} }, []string{"QE report signature"}},
		{"self-made root with the right name", enclave, onPurpose, forgeRoot(t, "SIMULATED (NOT INTEL) SGX Root CA"), []string{"trusted root", "PCK certificate chain"}},
		{"chain in the wrong order", enclave, onPurpose, reorder(t, 0, 2, 1), []string{"trusted root", "PCK certificate chain"}},
		{"intermediate as leaf", enclave, onPurpose, reorder(t, 1, 1, 2), []string{"PCK certificate chain", "QE report signature"}},
		{"before the certificates", enclave, attest.Options{At: today.AddDate(-10, 0, 0), Roots: onPurpose.Roots}, nil, []string{"certificates valid"}},
		{"after the certificates", enclave, attest.Options{At: today.AddDate(40, 0, 0), Roots: onPurpose.Roots}, nil, []string{"certificates valid"}},
	} {
		q := newQuote(t, c.body)
		if c.change != nil {
			c.change(q)
		}
		r, err := attest.Verify(q, c.options)
		if r == nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		checkFailures(t, c.name, r, err, c.failed...)
	}
}

// Below a root that tells its quoting enclave, no other enclave can vouch for a
// quote, though the platform certified its key.
func TestQuotingEnclave(t *testing.T) {
	q := newQuote(t, sgx.ReportBody{})
	genuine := attest.QuotingEnclave{MRSigner: q.Signature.QEReport.MRSigner, ISVProdID: q.Signature.QEReport.ISVProdID}
	for _, c := range []struct {
		name   string
		qe     attest.QuotingEnclave
		change func(*sgx.ReportBody)
		failed []string
	}{
		{"the quoting enclave", genuine, nil, nil},
		{"another signer", attest.QuotingEnclave{MRSigner: sgx.Measurement{1}, ISVProdID: 1}, nil, []string{"quoting enclave"}},
		{"another product", attest.QuotingEnclave{MRSigner: genuine.MRSigner, ISVProdID: 2}, nil, []string{"quoting enclave"}},
		{"in debug mode", genuine, func(b *sgx.ReportBody) { b.Attributes.Flags |= sgx.FlagDebug }, []string{"QE report signature", "quoting enclave"}},
		{"in 32-bit mode", genuine, func(b *sgx.ReportBody) { b.Attributes.Flags &^= sgx.FlagMode64Bit }, []string{"QE report signature"}},
		{"with MISCSELECT", genuine, func(b *sgx.ReportBody) { b.MiscSelect = 1 }, []string{"QE report signature", "quoting enclave"}},
	} {
		root := simulatedRoot(t)
		root.QuotingEnclaves = map[quote.TEE]attest.QuotingEnclave{quote.SGX: c.qe}
		q := newQuote(t, sgx.ReportBody{})
		if c.change != nil {
			c.change(&q.Signature.QEReport)
		}
		r, err := attest.Verify(q, attest.Options{At: today, Roots: []attest.Root{root}})
		if r == nil {
			t.Fatal(err)
		}
		checkFailures(t, c.name, r, err, c.failed...)
	}
}

func TestIntelRoot(t *testing.T) {
	point, err := attest.IntelRoot().Key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%x", sha256.Sum256(point)), "a512ddae5b8a05fd0738d708f29ddccaca53aad8b3698e77194cb05cc0723e89"; got != want {
		t.Errorf("the key's SHA-256 is %s, want %s", got, want)
	}
}

func TestZeroResultIsNotTrusted(t *testing.T) {
	if err := new(attest.Result).Err(); !errors.Is(err, attest.ErrNotTrusted) {
		t.Errorf("error %v", err)
	}
}

func certificates(t testing.TB, q *quote.Quote) []*x509.Certificate {
	t.Helper()
	chain, err := q.Signature.CertificationData.Certificates()
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

// reorder returns a change of a quote that puts the certificates of its chain
// in another order.
func reorder(t testing.TB, order ...int) func(*quote.Quote) {
	return func(q *quote.Quote) {
		chain := certificates(t, q)
		q.Signature.CertificationData = quote.NewPCKChain(chain[order[0]], chain[order[1]], chain[order[2]])
	}
}

// forgeRoot returns a change of a quote that puts a root of the same name, but
// with another key, at the end of its chain.
func forgeRoot(t testing.TB, name string) func(*quote.Quote) {
	return func(q *quote.Quote) {
		chain := certificates(t, q)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: chain[2].Subject.Organization},
			NotBefore: chain[2].NotBefore, NotAfter: chain[2].NotAfter,
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		forged, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		q.Signature.CertificationData = quote.NewPCKChain(chain[0], chain[1], forged)
	}
}

func TestNothingToJudge(t *testing.T) {
	onPurpose := attest.Options{At: today, Roots: []attest.Root{simulatedRoot(t)}}
	for _, c := range []struct {
		name    string
		options attest.Options
		change  func(*quote.Quote)
		want    string
	}{
		{"no time", attest.Options{}, func(*quote.Quote) {}, "Options.At"},
		{"nobody trusted", attest.Options{At: today}, func(*quote.Quote) {}, "Options.Roots"},
		{"root without a key", attest.Options{At: today, Roots: []attest.Root{{Name: "empty"}}}, func(*quote.Quote) {}, `"empty" has no key`},
		{"no chain", onPurpose, func(q *quote.Quote) {
			q.Signature.CertificationData = quote.CertificationData{Type: quote.PPIDClear, Data: make([]byte, 36)}
		}, "PPID in the clear"},
		{"broken chain", onPurpose, func(q *quote.Quote) {
			q.Signature.CertificationData.Data = q.Signature.CertificationData.Data[:1000]
		}, "not complete PEM"},
	} {
		q := newQuote(t, sgx.ReportBody{})
		c.change(q)
		r, err := attest.Verify(q, c.options)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want %q", c.name, r, err, c.want)
		}
	}
}

func TestParseRootRefuses(t *testing.T) {
	root := simulation.RootPEM()
	for _, c := range []struct {
		text []byte
		want string
	}{
		{nil, "no PEM certificate"},
		{[]byte("not PEM"), "no PEM certificate"},
		{append(append([]byte{}, root...), root...), "more than one"},
		{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}), "x509"},
	} {
		if _, err := attest.ParseRoot(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: %v; want %q", c.text, err, c.want)
		}
	}
}

func ExampleVerify() {
	q, err := simulatedQuote(sgx.ReportBody{MREnclave: sgx.Measurement{1}}) // as quote.Parse returns it
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = attest.Verify(q, attest.Options{
		Roots: []attest.Root{attest.IntelRoot()},
		At:    time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC),
	})
	fmt.Println(err)
	// Output:
	// attest: the quote is not trusted: trusted root: the chain ends in "SIMULATED (NOT INTEL) SGX Root CA", whose key is not that of a trusted root ("Intel SGX Root CA")
}

func BenchmarkVerify(b *testing.B) {
	q := newQuote(b, sgx.ReportBody{})
	options := attest.Options{At: today, Roots: []attest.Root{simulatedRoot(b)}}
	for b.Loop() {
		if _, err := attest.Verify(q, options); err != nil {
			b.Fatal(err)
		}
	}
}
