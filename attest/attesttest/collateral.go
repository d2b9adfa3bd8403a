package attesttest

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
)

// How long collateral is valid: as long as Intel's.
const (
	collateralValidity = 30 * 24 * time.Hour
	rootCRLValidity    = 365 * 24 * time.Hour
)

// NewCollateral returns the collateral of all simulated platforms, as issued on the day of
// now (UTC).
func NewCollateral(now time.Time) (*attest.Collateral, error) {
	i, err := NewIssuer("", now)
	if err != nil {
		return nil, err
	}
	return i.Collateral()
}

// Files returns the parts of collateral as the files that other verifiers read, by name. TCB
// info and QE identity are as PCS API v4 returns them, the CRLs are in DER, the chains in PEM.
func Files(c *attest.Collateral) map[string][]byte {
	return map[string][]byte{
		"tcb_info.json":      signedTCBInfo(c),
		"qe_identity.json":   signedQEIdentity(c),
		"tcb_sign_chain.pem": []byte(c.TCBInfoIssuerChain),
		"pck_crl_issuer.pem": []byte(c.PCKCRLIssuerChain),
		"pck_crl.der":        c.PCKCRL,
		"root_ca_crl.der":    c.RootCRL,
	}
}

func signedTCBInfo(c *attest.Collateral) []byte {
	return fmt.Appendf(nil, `{"tcbInfo":%s,"signature":"%s"}`, c.TCBInfo, c.TCBInfoSignature)
}

func signedQEIdentity(c *attest.Collateral) []byte {
	return fmt.Appendf(nil, `{"enclaveIdentity":%s,"signature":"%s"}`, c.QEIdentity, c.QEIdentitySignature)
}

// encodePEM returns certificates in PEM.
func encodePEM(certificates ...*x509.Certificate) string {
	var text strings.Builder
	for _, c := range certificates {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return text.String()
}

// signJSON returns v as compact JSON, as Intel signs it, and the signature of that text.
func (a Authority) signJSON(v any) (string, quote.Signature, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", quote.Signature{}, fmt.Errorf("attesttest: sign JSON: %w", err)
	}
	signature, err := a.Sign(text)
	return string(text), signature, err
}

// TCBInfo is TCB info version 3 (PCS API v4). The fields are in the order of Intel's service.
type TCBInfo struct {
	ID                      string    `json:"id"`
	Version                 int       `json:"version"`
	IssueDate               time.Time `json:"issueDate"`
	NextUpdate              time.Time `json:"nextUpdate"`
	FMSPC                   string    `json:"fmspc"`
	PCEID                   string    `json:"pceId"`
	TCBType                 int       `json:"tcbType"`
	TCBEvaluationDataNumber int       `json:"tcbEvaluationDataNumber"`
	// The parts about TDX modules, which TCB info for TDX has.
	TDXModule           *TDXModule          `json:"tdxModule,omitempty"`
	TDXModuleIdentities []TDXModuleIdentity `json:"tdxModuleIdentities,omitempty"`
	TCBLevels           []TCBLevel          `json:"tcbLevels"`
}

// TCBLevel is a level of TCB info or of the identity of an enclave or a TDX module. TCB is a
// PlatformTCB or an EnclaveTCB.
type TCBLevel struct {
	TCB         any       `json:"tcb"`
	TCBDate     time.Time `json:"tcbDate"`
	TCBStatus   string    `json:"tcbStatus"`
	AdvisoryIDs []string  `json:"advisoryIDs,omitempty"`
}

// PlatformTCB is the security versions of a platform.
type PlatformTCB struct {
	Components [16]Component `json:"sgxtcbcomponents"`
	PCESVN     int           `json:"pcesvn"`
	// TDXComponents are in TCB info for TDX.
	TDXComponents []Component `json:"tdxtcbcomponents,omitempty"`
}

// Component is a part of the TCB with a security version of its own.
type Component struct {
	SVN int `json:"svn"`
	// Category and Type are names for people, which some have.
	Category string `json:"category,omitempty"`
	Type     string `json:"type,omitempty"`
}

// EnclaveTCB is the security version of an enclave or a TDX module.
type EnclaveTCB struct {
	ISVSVN uint16 `json:"isvsvn"`
}

// tcbEvaluationDataNumber counts the TCB recoveries that the collateral includes.
const tcbEvaluationDataNumber = 17

// newTCBInfo returns TCB info with two levels: that of the platform and an older one, so that
// verifiers have to choose.
func newTCBInfo(issued time.Time) TCBInfo {
	current := PlatformTCB{PCESVN: pceSVN}
	for i, svn := range tcbComponents() {
		current.Components[i].SVN = svn
	}
	old := current
	old.Components[0].SVN--
	return TCBInfo{
		ID: "SGX", Version: 3, IssueDate: issued, NextUpdate: issued.Add(collateralValidity),
		FMSPC: fmt.Sprintf("%X", fmspc), PCEID: fmt.Sprintf("%X", pceID), TCBEvaluationDataNumber: tcbEvaluationDataNumber,
		TCBLevels: []TCBLevel{
			{TCB: current, TCBDate: levelDate(2025), TCBStatus: "UpToDate"},
			{TCB: old, TCBDate: levelDate(2024), TCBStatus: "OutOfDate", AdvisoryIDs: []string{"SIMULATED-SA-00001"}},
		},
	}
}

// EnclaveIdentity is an enclave identity version 2 (PCS API v4). MiscSelect and Attributes are
// little-endian, as in memory.
type EnclaveIdentity struct {
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
	TCBLevels               []TCBLevel `json:"tcbLevels"`
}

func newQEIdentity(issued time.Time) EnclaveIdentity {
	id := EnclaveIdentity{
		Version: 2, IssueDate: issued, NextUpdate: issued.Add(collateralValidity),
		TCBEvaluationDataNumber: tcbEvaluationDataNumber,
		MiscSelect:              "00000000",
		MiscSelectMask:          "FFFFFFFF",
		// INIT and PROVISION_KEY must be set and no other flag; the mask ignores
		// MODE64BIT and XFRM.
		Attributes:     "11000000000000000000000000000000",
		AttributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
	}
	id.setEnclave("QE", quotingEnclave())
	return id
}

func levelDate(year int) time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
