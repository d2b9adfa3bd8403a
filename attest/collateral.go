package attest

import (
	"encoding/json"
	"fmt"

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
