package attest_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// No change to what is signed in a quote leaves it trusted, whatever the policy accepts.
func FuzzVerifyQuote(f *testing.F) {
	enclaves, err := attesttest.NewIssuer("node-1", today)
	if err != nil {
		f.Fatal(err)
	}
	domains, err := attesttest.NewTDXIssuer("node-1", today)
	if err != nil {
		f.Fatal(err)
	}
	tdx10, tdx15, extended := attesttest.TrustDomain(), attesttest.TrustDomain(), attesttest.TrustDomain()
	tdx10.TDX15, extended.TDX15.Ex = nil, new(tdx.ReportBody15Ex)
	genuine := make(map[string]bool) // what is signed
	seed := func(q *quote.Quote, err error) {
		if err != nil {
			f.Fatal(err)
		}
		data, err := q.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		signed, err := q.SignedBytes()
		if err != nil {
			f.Fatal(err)
		}
		genuine[string(signed)] = true
		f.Add(data)
	}
	seed(enclaves.Quote(sgx.ReportBody{}))
	for _, td := range []tdx.ReportBody{tdx10, tdx15, extended} {
		seed(domains.QuoteTD(td))
	}
	collateral := make(map[quote.TEE]*attest.Collateral)
	if collateral[quote.SGX], err = enclaves.Collateral(); err != nil {
		f.Fatal(err)
	}
	if collateral[quote.TDX], err = domains.Collateral(); err != nil {
		f.Fatal(err)
	}
	verifier := attest.NewVerifier(simulatedRoot(f))
	policy := attest.Policy{
		AllowDebug: true, AnyEnclave: true, TrustDomain: &attest.TDPolicy{Any: true, AllowSEPTVE: true, AllowMigratable: true, AllowedXFAM: ^tdx.XFAM(0)},
		Statuses: []attest.TCBStatus{attest.SWHardeningNeeded, attest.ConfigurationNeeded, attest.ConfigurationAndSWHardeningNeeded,
			attest.TDRelaunchAdvised, attest.TDRelaunchAdvisedConfigurationNeeded, attest.OutOfDate, attest.OutOfDateConfigurationNeeded},
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := quote.ParsePadded(data)
		if err != nil {
			return
		}
		if again, err := q.MarshalBinary(); err != nil || !bytes.HasPrefix(data, again) {
			t.Fatalf("marshals to other bytes: %v", err)
		}
		for _, c := range []*attest.Collateral{nil, collateral[quote.SGX], collateral[quote.TDX]} {
			r, err := verifier.Verify(q, c, policy, today)
			if err != nil {
				continue
			}
			signed, err := q.SignedBytes()
			if err != nil || !genuine[string(signed)] || !r.Trusted || c != collateral[q.Header.TEE] {
				t.Errorf("accepted: %+v, %v", r, err)
			}
		}
	})
}

// A verifier that has seen a chain reads its text, changed in any way, as one that has not: what it
// remembers is found by parts of the text.
func FuzzKnownChain(f *testing.F) {
	issuer, err := attesttest.NewIssuer("node-1", today)
	if err != nil {
		f.Fatal(err)
	}
	q, err := issuer.Quote(sgx.ReportBody{})
	if err != nil {
		f.Fatal(err)
	}
	policy, remembering := attest.Policy{AnyEnclave: true}, attest.NewVerifier(simulatedRoot(f))
	chain := q.Signature.CertificationData.Data
	begin, end := []byte("-----BEGIN CERTIFICATE-----"), []byte("-----END CERTIFICATE-----\n")
	for _, text := range [][]byte{
		chain,
		append(bytes.Clone(chain), "\n\x00 \x00"...),
		bytes.ReplaceAll(chain, end, append(end, " \t\r\n"...)),
		bytes.Replace(chain, end, append(end, 0), 1),
		append([]byte("\n"), chain...),
		bytes.Replace(chain, begin, append(begin, "\nName: value\n"...), 1),
		bytes.Replace(chain, begin, append([]byte("-----BEGIN\n"), begin...), 2),
		bytes.ReplaceAll(chain, []byte("\n"), []byte("\r\n")),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, changed []byte) {
		q := *q
		for _, data := range [][]byte{chain, changed} {
			q.Signature.CertificationData.Data = data
			known, knownErr := remembering.Verify(&q, nil, policy, today)
			first, firstErr := attest.NewVerifier(simulatedRoot(t)).Verify(&q, nil, policy, today)
			diff := cmp.Diff(first, known, cmpopts.IgnoreUnexported(attest.Check{}, attest.Result{}))
			if diff != "" || text(knownErr) != text(firstErr) {
				t.Errorf("%q: %v, want %v\n%s", data, knownErr, firstErr, diff)
			}
		}
	})
}
