package attesttest_test

import (
	"fmt"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/tdx"
)

// A test of an appraisal policy for trust domains, without hardware: another kernel, which the
// firmware has measured into RTMR1, must be refused. For brevity, the errors of issuing are ignored.
func ExampleNewTDXIssuer() {
	firmware, kernel := tdx.Measurement{1}, tdx.Measurement{2}
	policy := attest.Policy{TrustDomain: &attest.TDPolicy{MRTDs: []tdx.Measurement{firmware}, RTMR1: []tdx.Measurement{kernel}}}

	issuer, _ := attesttest.NewTDXIssuer("node-1", attesttest.Today())
	for _, rtmr1 := range []tdx.Measurement{kernel, {3}} {
		td := attesttest.TrustDomain()
		td.MRTD, td.RTMR[1] = firmware, rtmr1
		q, _ := issuer.QuoteTD(td)
		result, err := issuer.Verify(q, policy)
		fmt.Println(result.Status, err)
	}
	// Output:
	// UpToDate <nil>
	// UpToDate attest: the quote is not trusted: RTMR1: 030000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000, which the policy does not accept
}

// The TDX module was updated after the trust domain was launched.
func ExampleIssuer_QuoteTD() {
	issuer, _ := attesttest.NewTDXIssuer("node-1", attesttest.Today())
	td := attesttest.TrustDomain()
	td.TEETCBSVN[0]-- // at launch
	q, _ := issuer.QuoteTD(td)

	policy := attest.Policy{TrustDomain: &attest.TDPolicy{Any: true}}
	result, _ := issuer.Verify(q, policy)
	fmt.Println(result.Trusted, result.Status)
	policy.Statuses = []attest.TCBStatus{attest.TDRelaunchAdvised}
	result, _ = issuer.Verify(q, policy)
	fmt.Println(result.Trusted)
	// Output:
	// false TDRelaunchAdvised
	// true
}
