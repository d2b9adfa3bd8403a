package verify_test

import (
	"context"
	"encoding/base64"
	"errors"
	"testing"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// Clients and bundles are sources.
var (
	_ attest.Source = (*pcs.Client)(nil)
	_ attest.Source = (*pcs.Bundle)(nil)
)

// source counts the calls, and fails with err if that is not nil.
type source struct {
	collateral *attest.Collateral
	err        error
	families   []attest.Family
}

func (s *source) CollateralFor(_ context.Context, f attest.Family) (*attest.Collateral, error) {
	s.families = append(s.families, f)
	return s.collateral, s.err
}

var errDown = errors.New("the service is down")

func TestVerify(t *testing.T) {
	issuer, err := attesttest.NewIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	genuine := func() *quote.Quote {
		q, err := issuer.Quote(sgx.ReportBody{MREnclave: sgx.Measurement{1}})
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	collateral, err := issuer.Collateral()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		change   func(*quote.Quote)
		policy   attest.Policy
		down     bool
		none     bool // no collateral
		nobody   bool // the policy names nobody
		err      error
		failed   attest.CheckName
		requests int
	}{
		{name: "genuine", requests: 1},
		{name: "another enclave than the policy accepts", policy: attest.Policy{MREnclaves: []sgx.Measurement{{7}}}, err: attest.ErrNotTrusted, failed: attest.CheckMREnclave, requests: 1},
		{name: "a policy that names nobody", nobody: true, err: attest.ErrIncomplete, requests: 1},
		{name: "service down", down: true, err: attest.ErrIncomplete, requests: 1},
		{name: "a source without collateral", none: true, err: attest.ErrIncomplete, requests: 1},
		{name: "quote signature", change: func(q *quote.Quote) { q.Enclave.MREnclave[0]++ }, err: attest.ErrNotTrusted, failed: attest.CheckQuoteSignature},
		{name: "QE report signature", change: func(q *quote.Quote) { q.Signature.QEReport.CPUSVN[0]++ }, err: attest.ErrNotTrusted, failed: attest.CheckQEReport},
		{name: "key binding", change: func(q *quote.Quote) { q.Signature.QEAuthData[0]++ }, err: attest.ErrNotTrusted, failed: attest.CheckKeyBinding},
		{name: "chain of another root", change: func(q *quote.Quote) { q.Signature.CertificationData = otherRoot(t) }, err: attest.ErrNotTrusted, failed: attest.CheckTrustedRoot},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := genuine()
			if test.change != nil {
				test.change(q)
			}
			data, err := q.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			from := &source{collateral: collateral}
			if test.down {
				from.collateral, from.err = nil, errDown
			}
			if test.none {
				from.collateral = nil
			}
			v := &verify.Verifier{Roots: simulatedRoots(), Source: from, Now: attesttest.Today}
			if test.policy.MREnclaves == nil && !test.nobody {
				test.policy.AnyEnclave = true
			}
			result, err := v.Verify(t.Context(), []byte(base64.StdEncoding.EncodeToString(data)), test.policy)
			if result == nil {
				t.Fatal(err)
			}
			if !errors.Is(err, test.err) || result.Trusted != (test.err == nil) {
				t.Errorf("error %v, want %v", err, test.err)
			}
			if test.down && !errors.Is(err, errDown) {
				t.Errorf("%v does not wrap the error of the source", err)
			}
			if failed, _ := errors.AsType[*attest.CheckError](err); failed != nil && failed.Check != test.failed {
				t.Errorf("%q failed, want %q", failed.Check, test.failed)
			}
			if len(from.families) != test.requests {
				t.Errorf("%d requests for collateral, want %d", len(from.families), test.requests)
			}
			if got := result.Evidence.Forms; len(got) != 2 || got[0] != evidence.FormBase64 {
				t.Errorf("forms %q", got)
			}
			for _, f := range from.families {
				if want := (attest.Family{FMSPC: "005A1D000000", CA: attest.ProcessorCA, TEE: quote.SGX}); f != want {
					t.Errorf("collateral of %v, want %v", f, want)
				}
			}
		})
	}
}

// otherRoot returns a chain that is valid under another root.
func otherRoot(t *testing.T) quote.CertificationData {
	issuer, err := attesttest.NewIssuer("node-1", attesttest.Today())
	if err != nil {
		t.Fatal(err)
	}
	issuer.Root.Key = issuer.PCKCA.Key
	q, err := issuer.Quote(sgx.ReportBody{})
	if err != nil {
		t.Fatal(err)
	}
	return q.Signature.CertificationData
}

func TestNothingToVerify(t *testing.T) {
	v := &verify.Verifier{Source: new(source)}
	result, err := v.Verify(t.Context(), []byte("no quote"), attest.Policy{AnyEnclave: true})
	if _, ok := errors.AsType[*evidence.Error](err); result != nil || !ok {
		t.Errorf("%v, %v", result, err)
	}
	if result, err := v.VerifyParsed(t.Context(), new(evidence.Evidence), attest.Policy{AnyEnclave: true}); result != nil || err == nil {
		t.Errorf("no evidence: %v, %v", result, err)
	}
}
