package challenge_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/sgx"
)

// An enclave binds its key to a nonce, and the verifier that handed it out checks that. A whole
// service is in examples/programs/secret-service. For brevity, the errors of issuing are ignored.
func Example() {
	nonces, _ := challenge.NewIssuer(time.Minute)
	nonce := nonces.Issue(time.Now())

	// The enclave's part, on a simulated platform.
	key := []byte("the public key of the enclave")
	platform, _ := attesttest.NewIssuer("node-1", attesttest.Today())
	q, _ := platform.Quote(sgx.ReportBody{MRSigner: sgx.Measurement{2}, ReportData: challenge.ReportData(nonce, key)})

	// The verifier's, which has got the quote, the key and the nonce.
	for _, key := range [][]byte{key, []byte("the key of another")} {
		bound := challenge.ReportData(nonce, key)
		policy := attest.Policy{MRSigners: []sgx.Measurement{{2}}, ReportData: bound[:]}
		_, err := platform.Verify(q, policy) // verify.Verifier.Verify for quotes of genuine platforms
		if err == nil {
			err = nonces.Check(nonce, time.Now())
		}
		fmt.Println(err == nil, errors.Is(err, attest.ErrNotTrusted))
	}
	// Output:
	// true false
	// false true
}
