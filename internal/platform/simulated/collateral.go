package simulated

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"github.com/confcom/confcom/quote"
)

// Collateral is what a verifier needs besides the quote, as Intel's service
// would hand it out for this platform. Its JSON form is the one that the
// verifier @phala/dcap-qvl reads.
type Collateral struct {
	PCKCRLIssuerChain     string          `json:"pck_crl_issuer_chain"` // PEM
	RootCACRL             quote.HexBytes  `json:"root_ca_crl"`          // DER
	PCKCRL                quote.HexBytes  `json:"pck_crl"`              // DER
	TCBInfoIssuerChain    string          `json:"tcb_info_issuer_chain"`
	TCBInfo               string          `json:"tcb_info"` // the signed JSON text
	TCBInfoSignature      quote.Signature `json:"tcb_info_signature"`
	QEIdentityIssuerChain string          `json:"qe_identity_issuer_chain"`
	QEIdentity            string          `json:"qe_identity"` // the signed JSON text
	QEIdentitySignature   quote.Signature `json:"qe_identity_signature"`
}

// How long collateral is valid, as Intel has it.
const (
	collateralValidity = 30 * 24 * time.Hour
	rootCRLValidity    = 365 * 24 * time.Hour
)

// NewCollateral returns the collateral of all simulated platforms as issued on
// the day of now (UTC).
func NewCollateral(now time.Time) (*Collateral, error) {
	a, err := newAuthorities()
	if err != nil {
		return nil, err
	}
	issued := now.UTC().Truncate(24 * time.Hour)
	c := &Collateral{
		PCKCRLIssuerChain:     encodePEM(a.pck.certificate, a.root.certificate),
		TCBInfoIssuerChain:    encodePEM(a.tcb.certificate, a.root.certificate),
		QEIdentityIssuerChain: encodePEM(a.tcb.certificate, a.root.certificate),
	}
	if c.RootCACRL, err = a.root.revocationList(issued, rootCRLValidity); err != nil {
		return nil, err
	}
	if c.PCKCRL, err = a.pck.revocationList(issued, collateralValidity); err != nil {
		return nil, err
	}
	if c.TCBInfo, c.TCBInfoSignature, err = a.signJSON(newTCBInfo(issued)); err != nil {
		return nil, err
	}
	if c.QEIdentity, c.QEIdentitySignature, err = a.signJSON(newQEIdentity(issued)); err != nil {
		return nil, err
	}
	return c, nil
}

// Files returns the parts as the files that other verifiers read: name to
// content.
func (c *Collateral) Files() map[string][]byte {
	signed := func(key, body string, s quote.Signature) []byte {
		return fmt.Appendf(nil, `{"%s":%s,"signature":"%s"}`, key, body, s)
	}
	return map[string][]byte{
		"tcb_info.json":      signed("tcbInfo", c.TCBInfo, c.TCBInfoSignature),
		"qe_identity.json":   signed("enclaveIdentity", c.QEIdentity, c.QEIdentitySignature),
		"tcb_sign_chain.pem": []byte(c.TCBInfoIssuerChain),
		"pck_crl_issuer.pem": []byte(c.PCKCRLIssuerChain),
		"pck_crl.der":        c.PCKCRL,
		"root_ca_crl.der":    c.RootCACRL,
	}
}

func encodePEM(certificates ...*x509.Certificate) string {
	var text strings.Builder
	for _, c := range certificates {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return text.String()
}

// signJSON returns v as compact JSON, which is what Intel signs, and the TCB
// signing key's signature of that text.
func (a *authorities) signJSON(v any) (string, quote.Signature, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", quote.Signature{}, fmt.Errorf("simulated: %w", err)
	}
	signature, err := sign(a.tcb.key, text)
	return string(text), signature, err
}

// tcbInfo is Intel's TCB info, version 3 (PCS API v4). The order of the fields
// is that of Intel's service.
type tcbInfo struct {
	ID                      string     `json:"id"`
	Version                 int        `json:"version"`
	IssueDate               time.Time  `json:"issueDate"`
	NextUpdate              time.Time  `json:"nextUpdate"`
	FMSPC                   string     `json:"fmspc"`
	PCEID                   string     `json:"pceId"`
	TCBType                 int        `json:"tcbType"`
	TCBEvaluationDataNumber int        `json:"tcbEvaluationDataNumber"`
	TCBLevels               []tcbLevel `json:"tcbLevels"`
}

type tcbLevel struct {
	TCB         any       `json:"tcb"`
	TCBDate     time.Time `json:"tcbDate"`
	TCBStatus   string    `json:"tcbStatus"`
	AdvisoryIDs []string  `json:"advisoryIDs,omitempty"`
}

// tcbEvaluationDataNumber counts the TCB recoveries that the collateral knows.
const tcbEvaluationDataNumber = 17

// newTCBInfo has two levels: the platform's own, and an older one, so that
// verifiers have a choice to make.
func newTCBInfo(issued time.Time) tcbInfo {
	type component struct {
		SVN int `json:"svn"`
	}
	type platformTCB struct {
		Components [16]component `json:"sgxtcbcomponents"`
		PCESVN     int           `json:"pcesvn"`
	}
	current := platformTCB{PCESVN: pceSVN}
	for i, svn := range tcbComponents() {
		current.Components[i].SVN = svn
	}
	old := current
	old.Components[0].SVN--
	return tcbInfo{
		ID: "SGX", Version: 3, IssueDate: issued, NextUpdate: issued.Add(collateralValidity),
		FMSPC: fmt.Sprintf("%X", fmspc), PCEID: fmt.Sprintf("%X", pceID), TCBEvaluationDataNumber: tcbEvaluationDataNumber,
		TCBLevels: []tcbLevel{
			{TCB: current, TCBDate: levelDate(2025), TCBStatus: "UpToDate"},
			{TCB: old, TCBDate: levelDate(2024), TCBStatus: "OutOfDate", AdvisoryIDs: []string{"SIMULATED-SA-00001"}},
		},
	}
}

// enclaveIdentity is Intel's enclave identity, version 2 (PCS API v4).
type enclaveIdentity struct {
	ID                      string     `json:"id"`
	Version                 int        `json:"version"`
	IssueDate               time.Time  `json:"issueDate"`
	NextUpdate              time.Time  `json:"nextUpdate"`
	TCBEvaluationDataNumber int        `json:"tcbEvaluationDataNumber"`
	MiscSelect              string     `json:"miscselect"`
	MiscSelectMask          string     `json:"miscselectMask"`
	Attributes              string     `json:"attributes"`
	AttributesMask          string     `json:"attributesMask"`
	MRSigner                string     `json:"mrsigner"`
	ISVProdID               uint16     `json:"isvprodid"`
	TCBLevels               []tcbLevel `json:"tcbLevels"`
}

func newQEIdentity(issued time.Time) enclaveIdentity {
	type enclaveTCB struct {
		ISVSVN uint16 `json:"isvsvn"`
	}
	qe := quotingEnclave()
	return enclaveIdentity{
		ID: "QE", Version: 2, IssueDate: issued, NextUpdate: issued.Add(collateralValidity),
		TCBEvaluationDataNumber: tcbEvaluationDataNumber,
		MiscSelect:              "00000000",
		MiscSelectMask:          "FFFFFFFF",
		// INIT and PROVISION_KEY must be set, no other flag; the mask passes over
		// MODE64BIT and XFRM.
		Attributes:     "11000000000000000000000000000000",
		AttributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
		MRSigner:       strings.ToUpper(hex.EncodeToString(qe.MRSigner[:])),
		ISVProdID:      qe.ISVProdID,
		TCBLevels: []tcbLevel{
			{TCB: enclaveTCB{qe.ISVSVN}, TCBDate: levelDate(2025), TCBStatus: "UpToDate"},
			{TCB: enclaveTCB{qe.ISVSVN - 1}, TCBDate: levelDate(2024), TCBStatus: "OutOfDate"},
		},
	}
}

func levelDate(year int) time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
