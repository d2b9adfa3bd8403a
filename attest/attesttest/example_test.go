package attesttest_test

import (
	"errors"
	"fmt"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// A test of a policy for enclaves, without hardware.
func ExampleIssuer_Verify() {
	policy := attest.Policy{MRSigners: []sgx.Measurement{{0xab}}, MinISVSVN: 3}

	issuer, _ := attesttest.NewIssuer("node-1", attesttest.Today())
	for _, version := range []uint16{3, 2} {
		q, _ := issuer.Quote(sgx.ReportBody{MRSigner: sgx.Measurement{0xab}, ISVSVN: version})
		result, err := issuer.Verify(q, policy)
		fmt.Println(result.Trusted, err)
	}
	// Output:
	// true <nil>
	// false attest: the quote is not trusted: security version: security version 2, want at least 3
}

// A test of a program that verifies quotes: it must notice that the PCK certificate is for a
// platform out of date.
func ExampleIssuer() {
	now := attesttest.Today()
	issuer, err := attesttest.NewIssuer("node-1", now)
	if err != nil {
		fmt.Println(err)
		return
	}
	issuer.Extension.Components[0]-- // before anything is signed

	q, err := issuer.Quote(sgx.ReportBody{MREnclave: sgx.Measurement{1}})
	if err != nil {
		fmt.Println(err)
		return
	}
	collateral, err := issuer.Collateral()
	if err != nil {
		fmt.Println(err)
		return
	}
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := attest.NewVerifier(root).Verify(q, collateral, attest.Policy{AnyEnclave: true}, now)
	failed, _ := errors.AsType[*attest.CheckError](err)
	fmt.Println(result.Status)
	fmt.Println(failed.Check, "failed")
	// Output:
	// OutOfDate
	// TCB status failed
}

// Run a verifier against all invalid evidence. Here it is attest.Verifier itself.
func ExampleCases() {
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		fmt.Println(err)
		return
	}
	wrong := 0
	for _, c := range attesttest.Cases() {
		q, collateral, err := c.Issue()
		if err != nil {
			fmt.Println(err)
			return
		}
		_, err = attest.NewVerifier(root).Verify(q, collateral, c.Policy, c.At)
		if accepted, valid := err == nil, len(c.Failed) == 0; accepted != valid {
			fmt.Println(c.Name, err)
			wrong++
		}
	}
	fmt.Println("wrong verdicts:", wrong)
	// Output: wrong verdicts: 0
}
