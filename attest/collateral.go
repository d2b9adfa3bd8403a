package attest

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/confcom/confcom/quote"
)

// Collateral is what Intel publishes for the verifiers of quotes, of one family of
// platforms and one CA of PCK certificates, as it is served: nothing in it is to be
// believed before it was checked. Its JSON form is the one of the verifier
// @phala/dcap-qvl.
type Collateral struct {
	// RootCRL and PCKCRL are the certificates that the root and the CA of the PCK
	// certificate have revoked, in DER.
	RootCRL quote.HexBytes `json:"root_ca_crl"`
	PCKCRL  quote.HexBytes `json:"pck_crl"`
	// PCKCRLIssuerChain is for other verifiers: here, the CA is that of the quote.
	PCKCRLIssuerChain string `json:"pck_crl_issuer_chain"`

	// TCBInfo and QEIdentity are the JSON texts that are signed (PCS API v4: what
	// stands behind "tcbInfo": and "enclaveIdentity":), with their signatures and the
	// chains of their signer in PEM, without or with the root.
	TCBInfo               string          `json:"tcb_info"`
	TCBInfoSignature      quote.Signature `json:"tcb_info_signature"`
	TCBInfoIssuerChain    string          `json:"tcb_info_issuer_chain"`
	QEIdentity            string          `json:"qe_identity"`
	QEIdentitySignature   quote.Signature `json:"qe_identity_signature"`
	QEIdentityIssuerChain string          `json:"qe_identity_issuer_chain"`
}

// ParseCollateral reads the JSON form. It checks that nothing is missing, and no
// more.
func ParseCollateral(text []byte) (*Collateral, error) {
	c := new(Collateral)
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("attest: collateral: %w", err)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Collateral) check() error {
	for _, part := range []struct {
		name string
		size int
	}{
		{"root_ca_crl", len(c.RootCRL)},
		{"pck_crl", len(c.PCKCRL)},
		{"tcb_info", len(c.TCBInfo)},
		{"tcb_info_issuer_chain", len(c.TCBInfoIssuerChain)},
		{"qe_identity", len(c.QEIdentity)},
		{"qe_identity_issuer_chain", len(c.QEIdentityIssuerChain)},
	} {
		if part.size == 0 {
			return fmt.Errorf("attest: collateral: there is no %s", part.name)
		}
	}
	return nil
}

// Check checks collateral by itself, as of a time: that a root which the verifier
// trusts heads all of its chains, that everything in it is signed and valid. It does
// not say for which platforms it is. The error is as that of Verify; without a
// Result the collateral could not be read.
func (v *Verifier) Check(c *Collateral, at time.Time) (*Result, error) {
	if err := v.checkArguments(c, Policy{}, at); err != nil {
		return nil, err
	}
	certificates, err := quote.ParseCertificates([]byte(c.PCKCRLIssuerChain))
	if err != nil {
		return nil, fmt.Errorf("attest: collateral: pck_crl_issuer_chain: %w", err)
	}
	if len(certificates) != 2 {
		return nil, fmt.Errorf("attest: collateral: pck_crl_issuer_chain has %d certificates, not that of the CA and of the root", len(certificates))
	}
	chain := &pckChain{intermediate: certificates[0], root: certificates[1]}
	r := new(Result)
	trusted, err := chain.checkRoot(v.roots)
	r.Root = trusted.Name
	r.add("trusted root", trusted.Name, err)
	detail, err := chain.checkAuthorities()
	r.add("PCK CA", detail, err)

	periods := []period{periodOf(chain.root), periodOf(chain.intermediate)}
	r.Expires = earliest(periods)
	detail, err = checkPeriods(periods, at, 0)
	r.add("certificates valid", detail, err)
	k := new(checked)
	k.check(c, chain)
	r.Checks = append(r.Checks, k.checks...)
	if k.rootCRL != nil {
		r.add("revocation", "neither the CA nor the signer of TCB info and identity is revoked",
			checkRevoked(k.rootCRL, slices.Concat(k.signers, []*x509.Certificate{chain.intermediate})...))
	}
	checkCollateralPeriods(r, k, Policy{}, at)
	if k.tcb != nil && k.qe != nil {
		r.EvaluationDataNumber = min(*k.tcb.TCBEvaluationDataNumber, *k.qe.TCBEvaluationDataNumber)
	}
	r.Trusted = r.passed()
	return r, r.Err()
}
