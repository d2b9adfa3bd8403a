package attest

import (
	"encoding/json"
	"fmt"

	"github.com/confcom/confcom/quote"
)

// Collateral is what Intel publishes for verifying the quotes of one family of platforms
// under one CA of PCK certificates, as a service returns it. Nothing in it has been
// verified. Its JSON form is that of the verifier @phala/dcap-qvl.
type Collateral struct {
	// RootCRL and PCKCRL are the CRLs (certificate revocation lists) of the root and of the
	// CA of the PCK certificate, in DER.
	RootCRL quote.HexBytes `json:"root_ca_crl"`
	PCKCRL  quote.HexBytes `json:"pck_crl"`
	// PCKCRLIssuerChain is the certificates of the CA and of the root in PEM. Verify does
	// not use it: it takes the CA from the quote.
	PCKCRLIssuerChain string `json:"pck_crl_issuer_chain"`

	// TCBInfo and QEIdentity are the signed JSON texts: the values of "tcbInfo" and
	// "enclaveIdentity" in PCS API v4, byte for byte. The issuer chains are the certificate
	// of the signer and optionally of the root, in PEM.
	TCBInfo               string          `json:"tcb_info"`
	TCBInfoSignature      quote.Signature `json:"tcb_info_signature"`
	TCBInfoIssuerChain    string          `json:"tcb_info_issuer_chain"`
	QEIdentity            string          `json:"qe_identity"`
	QEIdentitySignature   quote.Signature `json:"qe_identity_signature"`
	QEIdentityIssuerChain string          `json:"qe_identity_issuer_chain"`
}

// ParseCollateral reads the JSON form. It checks only that no part is missing.
func ParseCollateral(text []byte) (*Collateral, error) {
	c := new(Collateral)
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("attest: parse collateral: %w", err)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// check checks that no part is missing.
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
			return fmt.Errorf("attest: collateral: %s is missing", part.name)
		}
	}
	return nil
}

// authoritiesOf returns the CA of PCK certificates in collateral and its root, which are not
// checked yet.
func authoritiesOf(c *Collateral) (*authorities, error) {
	certificates, err := quote.ParseCertificates([]byte(c.PCKCRLIssuerChain))
	if err != nil {
		return nil, fmt.Errorf("attest: collateral: pck_crl_issuer_chain: %w", err)
	}
	if len(certificates) != 2 {
		return nil, fmt.Errorf("attest: collateral: pck_crl_issuer_chain: %d certificates, want those of the CA and of the root", len(certificates))
	}
	return &authorities{intermediate: certificates[0], root: certificates[1]}, nil
}
