package attesttest

import (
	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
)

// Verify verifies a quote with the collateral and the root of the issuer, as of its day, and
// appraises it by a policy: a test of the policy in one call.
func (i *Issuer) Verify(q *quote.Quote, policy attest.Policy) (*attest.Result, error) {
	collateral, err := i.Collateral()
	if err != nil {
		return nil, err
	}
	return attest.NewVerifier(i.TrustedRoot()).Verify(q, collateral, policy, i.day)
}

// TrustedRoot returns the root of the issuer, for verifiers that trust it.
func (i *Issuer) TrustedRoot() attest.Root {
	return attest.Root{Name: i.Root.Template.Subject.CommonName, Key: &i.Root.Key.PublicKey}
}
