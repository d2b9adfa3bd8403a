package verify_test

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// none is a source without certificates.
type none struct{}

func (none) CertificatesFor(context.Context, *quote.Quote) ([]*x509.Certificate, error) {
	return nil, nil
}

// Quotes without a certificate chain are verified with that of the caller.
func TestCertificates(t *testing.T) {
	issue := func(platform string, kind quote.CertificationDataType) ([]byte, []*x509.Certificate, *attest.Collateral) {
		t.Helper()
		i, err := attesttest.NewIssuer(platform, attesttest.Today())
		if err != nil {
			t.Fatal(err)
		}
		i.CertificationType = kind
		q, err := i.Quote(sgx.ReportBody{})
		if err != nil {
			t.Fatal(err)
		}
		data, err := q.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		chain, err := i.PCKChain()
		if err != nil {
			t.Fatal(err)
		}
		collateral, err := i.Collateral()
		if err != nil {
			t.Fatal(err)
		}
		return data, chain, collateral
	}
	_, other, _ := issue("node-2", quote.PCKChain)
	for _, kind := range []quote.CertificationDataType{quote.PPIDClear, quote.PPIDRSA2048, quote.PPIDRSA3072, quote.PCKLeaf} {
		data, chain, collateral := issue("node-1", kind)
		missing := `the certificate of "SIMULATED (NOT INTEL) SGX PCK Processor CA" is missing`
		for _, c := range []struct {
			name         string
			certificates verify.CertificateSource
			want         string // of the error; empty for a trusted quote
		}{
			{"the chain", verify.Certificates(chain), ""},
			{"in another order, with those of another platform", verify.Certificates{chain[2], other[0], chain[0], chain[1]}, ""},
			{"without the CA", verify.Certificates{chain[0], chain[2]}, missing},
			{"no source", nil, "not supported"},
			{"an empty source", none{}, "0 certificates, want"},
			{"the PCK certificate of another platform", verify.Certificates(other), "none of 3 certificates has the key"},
			{"only those of the CAs", verify.Certificates(chain[1:]), "none of 2 certificates has the key"},
		} {
			want := c.want
			if kind == quote.PCKLeaf && strings.HasPrefix(want, "none of") {
				want = "" // the quote has the PCK certificate
			}
			v := &verify.Verifier{Roots: simulatedRoots(), Source: collateral, Certificates: c.certificates, Now: attesttest.Today}
			result, err := v.Verify(t.Context(), data, attest.Policy{AnyEnclave: true})
			switch {
			case want == "" && (err != nil || !result.Trusted || result.Platform == nil):
				t.Errorf("%s, %s: %v", kind, c.name, err)
			case want != "" && (result != nil || err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("%s, %s: %v, want %q", kind, c.name, err, want)
			}
		}
		// Certificates of others are verified as those in a quote are.
		v := &verify.Verifier{Source: collateral, Certificates: verify.Certificates(chain), Now: attesttest.Today}
		if result, err := v.Verify(t.Context(), data, attest.Policy{AnyEnclave: true}); result == nil || result.Root != "" || !errors.Is(err, attest.ErrNotTrusted) {
			t.Errorf("%s, another root: %v", kind, err)
		}
	}
}

// counting is a source that counts how often it is asked.
type counting struct {
	verify.Certificates
	asked *int
}

func (c counting) CertificatesFor(ctx context.Context, q *quote.Quote) ([]*x509.Certificate, error) {
	*c.asked++
	return c.Certificates.CertificatesFor(ctx, q)
}

// Another source is asked for what is missing only.
func TestCertificatesWith(t *testing.T) {
	chains := make(map[string][]*x509.Certificate)
	var q *quote.Quote
	for _, platform := range []string{"node-2", "node-1"} {
		i, err := attesttest.NewIssuer(platform, attesttest.Today())
		if err != nil {
			t.Fatal(err)
		}
		i.CertificationType = quote.PPIDRSA3072
		if q, err = i.Quote(sgx.ReportBody{}); err != nil {
			t.Fatal(err)
		}
		if chains[platform], err = i.PCKChain(); err != nil {
			t.Fatal(err)
		}
	}
	chain := verify.Certificates(chains["node-1"])
	for _, c := range []struct {
		name        string
		own, others verify.Certificates
		asked       int
		want        string // of the error
	}{
		{"none", nil, chain, 1, ""},
		{"the PCK certificate", chain[:1], chain[1:], 1, ""},
		{"all", chain, nil, 0, ""},
		{"without the root", chain[:2], chain, 0, "is missing"},
		{"the PCK certificate of another platform", chains["node-2"][:1], chain, 0, "has not the key"},
		{"the PCK certificate, and no issuers", chain[:1], nil, 1, "is missing"},
	} {
		asked := 0
		completed, err := verify.Complete(t.Context(), q, c.own.With(counting{c.others, &asked}))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || asked != c.asked {
			t.Errorf("%s: %v, asked %d times; want %q, %d", c.name, err, asked, c.want, c.asked)
		}
		if err == nil && completed.Signature.CertificationData.Type != quote.PCKChain {
			t.Errorf("%s: %s", c.name, completed.Signature.CertificationData.Type)
		}
	}
	if completed, err := verify.Complete(t.Context(), q, nil); err != nil || completed != q {
		t.Errorf("no source: %v", err)
	}
	if completed, err := verify.Complete(t.Context(), q, chain.With(nil)); err != nil || completed == q {
		t.Errorf("no other source: %v", err)
	}
}
