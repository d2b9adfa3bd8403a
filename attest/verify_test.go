package attest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

var today = attesttest.Today()

func simulatedRoot(t testing.TB) attest.Root {
	t.Helper()
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func newIssuance(t testing.TB) *simulated.Issuance {
	t.Helper()
	i, err := simulated.NewIssuance("node-1", today)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// issue signs a quote and its collateral.
func issue(t testing.TB, i *simulated.Issuance, enclave sgx.ReportBody) (*quote.Quote, *attest.Collateral) {
	t.Helper()
	q, err := i.Quote(enclave)
	if err != nil {
		t.Fatal(err)
	}
	c, err := i.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	return q, c
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // the system has no randomness
	}
	return key
}

// revoke is a list with the serial number of a certificate.
func revoke(list *x509.RevocationList, a simulated.Authority) {
	list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
		x509.RevocationListEntry{SerialNumber: a.Template.SerialNumber, RevocationTime: day(2026, 5, 1)})
}

// All that is wrong is found, and nothing else.
func TestMisissued(t *testing.T) {
	for _, m := range attesttest.Cases() {
		t.Run(m.Name, func(t *testing.T) {
			q, c := m.Make()
			at := m.At
			if at.IsZero() {
				at = today
			}
			r, err := attest.NewVerifier(simulatedRoot(t)).Verify(q, c, m.Policy, at)
			if r == nil {
				t.Fatal(err)
			}
			checkFailures(t, r, err, nil, m.Failed...)
			var details []string
			for _, check := range r.Checks {
				if !check.Passed {
					details = append(details, check.Detail)
				}
			}
			if !strings.Contains(strings.Join(details, "\n"), m.Says) {
				t.Errorf("it is said that %q, want %q", details, m.Says)
			}
		})
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

// What a verifier remembers of one quote does not help another one.
func TestVerifierRemembers(t *testing.T) {
	verifier := attest.NewVerifier(simulatedRoot(t))
	good := newIssuance(t)
	q, c := issue(t, good, sgx.ReportBody{})
	for range 2 {
		if r, err := verifier.Verify(q, c, attest.Policy{}, today); err != nil {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	check := func(name string, q *quote.Quote, c *attest.Collateral, policy attest.Policy, at time.Time, failed ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r, err := verifier.Verify(q, c, policy, at)
			if r == nil {
				t.Fatal(err)
			}
			checkFailures(t, r, err, nil, failed...)
		})
	}
	check("later", q, c, attest.Policy{}, today.AddDate(0, 2, 0), "collateral valid")
	check("another policy", q, c, attest.Policy{ReportData: []byte{1}}, today, "report data")

	other, err := simulated.NewIssuance("node-2", today)
	if err != nil {
		t.Fatal(err)
	}
	revoke(good.PCKCRL, other.PCK)
	theirs, revoking := issue(t, good, sgx.ReportBody{})
	check("a list with another platform", theirs, revoking, attest.Policy{}, today)
	theirs, err = other.Quote(sgx.ReportBody{})
	if err != nil {
		t.Fatal(err)
	}
	check("that platform", theirs, revoking, attest.Policy{}, today, "revocation")
	check("that platform, by the list of before", theirs, c, attest.Policy{}, today)

	r, err := verifier.Verify(q, c, attest.Policy{}, today)
	if err != nil {
		t.Fatal(err)
	}
	clear(r.Platform.FMSPC) // is the caller's
	check("after a caller has written into the result", q, c, attest.Policy{}, today)

	changed := *c
	changed.QEIdentity += " "
	check("other collateral", q, &changed, attest.Policy{}, today, "QE identity", "quoting enclave", "TCB status")
	q.Enclave.ISVSVN++
	check("another quote", q, c, attest.Policy{}, today, "quote signature")
}

// Many may use a verifier at once.
func TestVerifierAtOnce(t *testing.T) {
	verifier := attest.NewVerifier(simulatedRoot(t))
	q, c := issue(t, newIssuance(t), sgx.ReportBody{})
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 4 {
				if _, err := verifier.Verify(q, c, attest.Policy{}, today); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
}

func TestArguments(t *testing.T) {
	root := simulatedRoot(t)
	for _, c := range []struct {
		name   string
		roots  []attest.Root
		policy attest.Policy
		at     time.Time
		change func(*quote.Quote, *attest.Collateral)
		want   string
	}{
		{"no time", []attest.Root{root}, attest.Policy{}, time.Time{}, nil, "no time"},
		{"nobody trusted", nil, attest.Policy{}, today, nil, "nobody is trusted"},
		{"a root without a key", []attest.Root{{Name: "empty"}}, attest.Policy{}, today, nil, `"empty" has no key`},
		{"expired for ever", []attest.Root{root}, attest.Policy{AcceptExpired: true}, today, nil, "for ever"},
		{"a negative age", []attest.Root{root}, attest.Policy{MaxCollateralAge: -1}, today, nil, "negative"},
		{"a long nonce", []attest.Root{root}, attest.Policy{ReportData: make([]byte, 65)}, today, nil, "65 bytes"},
		{"a product of nobody", []attest.Root{root}, attest.Policy{ISVProdID: new(uint16)}, today, nil, "MRSigners"},
		{"a version of nobody's", []attest.Root{root}, attest.Policy{MinISVSVN: 1}, today, nil, "MRSigners"},
		{"revoked is fine", []attest.Root{root}, attest.Policy{Statuses: []attest.TCBStatus{attest.Revoked}}, today, nil, "Revoked"},
		{"no list", []attest.Root{root}, attest.Policy{}, today, func(_ *quote.Quote, c *attest.Collateral) { c.PCKCRL = nil }, "there is no pck_crl"},
		{"no chain", []attest.Root{root}, attest.Policy{}, today, func(q *quote.Quote, _ *attest.Collateral) {
			q.Signature.CertificationData = quote.CertificationData{Type: quote.PPIDClear, Data: make([]byte, 36)}
		}, "PPID in the clear"},
		{"a broken chain", []attest.Root{root}, attest.Policy{}, today, func(q *quote.Quote, _ *attest.Collateral) {
			q.Signature.CertificationData.Data = q.Signature.CertificationData.Data[:1000]
		}, "not complete PEM"},
	} {
		q, collateral := issue(t, newIssuance(t), sgx.ReportBody{})
		if c.change != nil {
			c.change(q, collateral)
		}
		if r, err := attest.NewVerifier(c.roots...).Verify(q, collateral, c.policy, c.at); r != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want %q", c.name, r, err, c.want)
		}
	}
}

func TestParsePolicy(t *testing.T) {
	p, err := attest.ParsePolicy([]byte(`{"statuses": ["SWHardeningNeeded"], "mrSigners": ["` + strings.Repeat("01", 32) + `"], "isvProdId": 3,
		"reportData": "c0ffee", "maxCollateralAge": "720h", "acceptExpired": true}`))
	if err != nil || p.MaxCollateralAge != 720*time.Hour || *p.ISVProdID != 3 || p.MRSigners[0][31] != 1 || len(p.ReportData) != 3 || p.Statuses[0] != attest.SWHardeningNeeded || p.Advisories != nil {
		t.Errorf("%+v, %v", p, err)
	}
	for text, want := range map[string]string{
		`{"mrSigner": []}`:            "unknown field",
		`{"statuses": ["Fine"]}`:      `"Fine" is no TCB status`,
		`{"statuses": ["Revoked"]}`:   "cannot be accepted",
		`{"maxCollateralAge": "30d"}`: "maxCollateralAge",
		`{"acceptExpired": true}`:     "for ever",
		`{} {}`:                       "after top-level value",
		``:                            "unexpected end",
	} {
		if _, err := attest.ParsePolicy([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

func TestIntelRoot(t *testing.T) {
	if n := len(attest.IntelRoot().QuotingEnclaves); n != 2 {
		t.Errorf("%d quoting enclaves", n)
	}
}

func TestZeroResultIsNotTrusted(t *testing.T) {
	if err := new(attest.Result).Err(); !errors.Is(err, attest.ErrNotTrusted) {
		t.Errorf("error %v", err)
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

func BenchmarkVerify(b *testing.B) {
	q, c := issue(b, newIssuance(b), sgx.ReportBody{})
	for _, known := range []struct {
		name     string
		verifier func() *attest.Verifier
	}{
		{"cold", func() *attest.Verifier { return attest.NewVerifier(simulatedRoot(b)) }},
		{"warm", nil},
	} {
		b.Run(known.name, func(b *testing.B) {
			verifier := attest.NewVerifier(simulatedRoot(b))
			b.ReportAllocs()
			for b.Loop() {
				if known.verifier != nil {
					verifier = known.verifier()
				}
				if _, err := verifier.Verify(q, c, attest.Policy{}, today); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// On as many threads as there are (-cpu).
func BenchmarkVerifyParallel(b *testing.B) {
	q, c := issue(b, newIssuance(b), sgx.ReportBody{})
	verifier := attest.NewVerifier(simulatedRoot(b))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := verifier.Verify(q, c, attest.Policy{}, today); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// What one P-256 verification takes here.
func BenchmarkP256(b *testing.B) {
	key := newKey()
	digest := make([]byte, 32)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest, signature) {
			b.Fatal("a good signature")
		}
	}
}
