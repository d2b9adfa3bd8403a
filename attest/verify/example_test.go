package verify_test

import (
	"context"
	"fmt"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// A relying party that trusts the enclaves of one signer, if they have bound its nonce.
func ExampleVerifier() {
	evidence, collateral := received([]byte("nonce"))
	verifier := &verify.Verifier{
		Source: collateral,       // or &pcs.Client{Service: pcs.Intel()}
		Roots:  simulatedRoots(), // for tests only: leave it out for genuine platforms
		Now:    attesttest.Today, // the same
	}

	result, err := verifier.Verify(context.Background(), evidence, attest.Policy{
		MRSigners:  []sgx.Measurement{{2}},
		ReportData: []byte("nonce"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Status, result.Quote.Enclave.ISVSVN, result.Expires.Format(time.DateOnly))
	// Output: UpToDate 3 2026-07-01
}

// received returns the simulated quote of an enclave, and its collateral.
func received(nonce []byte) ([]byte, *attest.Collateral) {
	issuer, err := attesttest.NewIssuer("node-1", attesttest.Today())
	if err != nil {
		panic(err)
	}
	enclave := sgx.ReportBody{MREnclave: sgx.Measurement{1}, MRSigner: sgx.Measurement{2}, ISVSVN: 3}
	copy(enclave.ReportData[:], nonce)
	q, err := issuer.Quote(enclave)
	if err != nil {
		panic(err)
	}
	data, err := q.MarshalBinary()
	if err != nil {
		panic(err)
	}
	collateral, err := issuer.Collateral()
	if err != nil {
		panic(err)
	}
	return data, collateral
}

func simulatedRoots() []attest.Root {
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		panic(err)
	}
	return []attest.Root{root}
}
