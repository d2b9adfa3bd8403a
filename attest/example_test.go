package attest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// received returns a quote as quote.Parse does, and its collateral as attest.ParseCollateral
// does. Both are simulated.
func received(day time.Time) (*quote.Quote, *attest.Collateral) {
	i, err := attesttest.NewIssuer("node-1", day)
	if err != nil {
		panic(err)
	}
	q, err := i.Quote(sgx.ReportBody{MREnclave: sgx.Measurement{1}, MRSigner: sgx.Measurement{2}, ISVSVN: 3, ReportData: sgx.ReportData{0xc0, 0xff, 0xee}})
	if err != nil {
		panic(err)
	}
	c, err := i.Collateral()
	if err != nil {
		panic(err)
	}
	return q, c
}

func ExampleVerifier() {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	q, collateral := received(now)

	verifier := attest.NewVerifier(attest.IntelRoot()) // keep it: it caches chains and collateral
	_, err := verifier.Verify(q, collateral, attest.Policy{AnyEnclave: true}, now)
	fmt.Println(err)
	fmt.Println(errors.Is(err, attest.ErrNotTrusted))
	failed, _ := errors.AsType[*attest.CheckError](err)
	fmt.Println(failed.Check == attest.CheckTrustedRoot)
	// Output:
	// attest: the quote is not trusted: trusted root: the chain ends in "SIMULATED (NOT INTEL) SGX Root CA", whose key is not that of a trusted root ("Intel SGX Root CA")
	// true
	// true
}

// The caller requires enclaves of a signer and a nonce, and accepts platforms on which enclaves
// must mitigate attacks themselves.
func ExamplePolicy() {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	q, collateral := received(now)
	root, err := attest.ParseRoot(simulation.RootPEM()) // for tests only: use attest.IntelRoot
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := attest.Policy{
		MRSigners:  []sgx.Measurement{{2}},
		MinISVSVN:  3,
		ReportData: []byte{0xc0, 0xff, 0xee},
		Statuses:   []attest.TCBStatus{attest.SWHardeningNeeded},
	}
	result, err := attest.NewVerifier(root).Verify(q, collateral, policy, now)
	fmt.Println(result.Trusted, result.Status, err)
	fmt.Println("until", result.Expires.Format(time.DateOnly))

	policy.ReportData = []byte("another nonce")
	_, err = attest.NewVerifier(root).Verify(q, collateral, policy, now)
	fmt.Println(errors.Is(err, attest.ErrNotTrusted))
	// Output:
	// true UpToDate <nil>
	// until 2026-07-01
	// true
}

func ExampleResult() {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	q, _ := received(now)
	result, err := attest.NewVerifier(attest.IntelRoot()).Verify(q, nil, attest.Policy{AnyEnclave: true}, now)
	if result == nil {
		fmt.Println(err) // there was nothing to verify
		return
	}
	text, _ := json.MarshalIndent(result.Checks[0], "", "  ")
	fmt.Println(string(text))
	fmt.Println("not checked:", result.NotChecked[0])
	// Output:
	// {
	//   "name": "trusted root",
	//   "passed": false,
	//   "detail": "the chain ends in \"SIMULATED (NOT INTEL) SGX Root CA\", whose key is not that of a trusted root (\"Intel SGX Root CA\")"
	// }
	// not checked: revocation of the certificates
}

func ExampleParseCollateral() {
	_, collateral := received(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
	text, err := json.Marshal(collateral) // the content of a file
	if err != nil {
		fmt.Println(err)
		return
	}
	read, err := attest.ParseCollateral(text)
	fmt.Println(read.TCBInfo[:25], err)
	_, err = attest.ParseCollateral([]byte(`{"tcb_info": "…"}`))
	fmt.Println(err)
	// Output:
	// {"id":"SGX","version":3," <nil>
	// attest: collateral: root_ca_crl is missing
}
