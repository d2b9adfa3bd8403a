package attesttest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// TDXModule is what TCB info expects of the TDX module.
type TDXModule struct {
	MRSigner       string `json:"mrsigner"`
	Attributes     string `json:"attributes"`
	AttributesMask string `json:"attributesMask"`
}

// TDXModuleIdentity is what TCB info expects of the TDX module of a major version, and the
// status of its security versions.
type TDXModuleIdentity struct {
	ID string `json:"id"` // TDX_01 for major version 1
	TDXModule
	TCBLevels []TCBLevel `json:"tcbLevels"`
}

// NewTDXIssuer is NewIssuer for a TDX platform: the quoting enclave is the TD QE, and TCB info
// and QE identity are those for TDX. Quotes have version 5.
func NewTDXIssuer(platform string, now time.Time) (*Issuer, error) {
	i, err := NewIssuer(platform, now)
	if err != nil {
		return nil, err
	}
	i.QE, i.Version = tdQuotingEnclave(), quote.Version5
	i.TCBInfo.setTDX()
	i.QEIdentity.setEnclave("TD_QE", i.QE)
	return i, nil
}

// QuoteTD issues a quote on a trust domain. No trust domain and no report are needed: the body is
// quoted as it is. See TrustDomain.
func (i *Issuer) QuoteTD(td tdx.ReportBody) (*quote.Quote, error) {
	// The quote must not share memory with the caller.
	data, _ := td.MarshalBinary()
	q := &quote.Quote{TD: new(tdx.ReportBody)}
	if err := q.TD.UnmarshalBinary(data); err != nil {
		return nil, err
	}
	switch td.Size() {
	case tdx.ReportBody10Size:
		q.BodyType = quote.BodyTDX10
	case tdx.ReportBody15Size:
		q.BodyType = quote.BodyTDX15
	case tdx.ReportBody15ExSize:
		q.BodyType = quote.BodyTDX15Ex
	}
	return q, i.sign(q)
}

// TrustDomain returns the report body of a trust domain of TDX 1.5 on the simulated platform,
// which is up to date, to be completed by the caller: what was measured and its report data are
// zero.
func TrustDomain() tdx.ReportBody {
	return tdx.ReportBody{
		TEETCBSVN:    teeTCBSVN(),
		MRSEAM:       sha512.Sum384([]byte(Label + "TDX module")),
		TDAttributes: tdx.AttributeSEPTVEDisable,
		XFAM:         0xe7, // x87, SSE, AVX, AVX-512
		TDX15:        &tdx.ReportBody15{TEETCBSVN2: teeTCBSVN()},
	}
}

// teeTCBSVN returns the security versions of the simulated platform: version 1.5 of the TDX
// module, and 2 of what loads it.
func teeTCBSVN() tdx.TCBSVN { return tdx.TCBSVN{5, 1, 2} }

// setTDX makes TCB info one for TDX, with the components of the trust domain in both levels,
// and a level out of date for the TDX module.
func (t *TCBInfo) setTDX() {
	module := TDXModule{
		MRSigner: strings.Repeat("00", 48), Attributes: strings.Repeat("00", 8), AttributesMask: strings.Repeat("FF", 8),
	}
	current := teeTCBSVN()
	minor := uint16(current.ModuleMinor())
	t.ID, t.TDXModule = "TDX", &module
	t.TDXModuleIdentities = []TDXModuleIdentity{
		{ID: "TDX_03", TDXModule: module, TCBLevels: []TCBLevel{{TCB: EnclaveTCB{3}, TCBDate: levelDate(2025), TCBStatus: "UpToDate"}}},
		{ID: "TDX_01", TDXModule: module, TCBLevels: []TCBLevel{
			{TCB: EnclaveTCB{minor}, TCBDate: levelDate(2025), TCBStatus: "UpToDate"},
			{TCB: EnclaveTCB{minor - 2}, TCBDate: levelDate(2023), TCBStatus: "OutOfDate", AdvisoryIDs: []string{"SIMULATED-SA-00002"}},
		}},
	}
	// As Intel's: the second component is zero in levels, because each major version has an
	// identity.
	for n, svns := range [][16]int{{5, 0, 2}, {4, 0, 1}} {
		tcb := t.TCBLevels[n].TCB.(PlatformTCB)
		tcb.TDXComponents = make([]Component, len(svns))
		for j, svn := range svns {
			tcb.TDXComponents[j].SVN = svn
		}
		t.TCBLevels[n].TCB = tcb
	}
}

// tdQuotingEnclave returns the identity of the simulated TD QE.
func tdQuotingEnclave() sgx.ReportBody {
	const (
		prodID = 2 // as Intel's TD QE
		svn    = 4
	)
	qe := quotingEnclave()
	qe.MREnclave = sha256.Sum256([]byte(Label + "TD quoting enclave"))
	qe.MRSigner = sha256.Sum256([]byte(Label + "signer of the TD quoting enclave"))
	qe.ISVProdID, qe.ISVSVN = prodID, svn
	return qe
}

// setEnclave makes an identity that of an enclave.
func (id *EnclaveIdentity) setEnclave(name string, e sgx.ReportBody) {
	id.ID, id.MRSigner, id.ISVProdID = name, strings.ToUpper(hex.EncodeToString(e.MRSigner[:])), e.ISVProdID
	id.TCBLevels = []TCBLevel{
		{TCB: EnclaveTCB{e.ISVSVN}, TCBDate: levelDate(2025), TCBStatus: "UpToDate"},
		{TCB: EnclaveTCB{e.ISVSVN - 1}, TCBDate: levelDate(2024), TCBStatus: "OutOfDate"},
	}
}

// isTDX reports whether collateral is for TDX.
func isTDX(c *attest.Collateral) bool {
	var info struct {
		ID string `json:"id"`
	}
	return json.Unmarshal([]byte(c.TCBInfo), &info) == nil && info.ID == "TDX"
}
