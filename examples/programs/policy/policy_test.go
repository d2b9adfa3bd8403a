// Package policy is a test of an appraisal policy without hardware.
package policy

import (
	_ "embed"
	"errors"
	"testing"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/sgx"
)

//go:embed policy.json
var text []byte

func TestPolicy(t *testing.T) {
	policy, policyErr := attest.ParsePolicy(text)
	issuer, issuerErr := attesttest.NewIssuer("node-1", attesttest.Today())
	if err := errors.Join(policyErr, issuerErr); err != nil {
		t.Fatal(err)
	}
	for version, trusted := range map[uint16]bool{1: false, 2: true, 3: true} {
		q, err := issuer.Quote(sgx.ReportBody{MRSigner: sgx.Measurement{2}, ISVProdID: 1, ISVSVN: version})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := issuer.Verify(q, policy); (err == nil) != trusted {
			t.Errorf("security version %d: %v", version, err)
		}
	}
}
