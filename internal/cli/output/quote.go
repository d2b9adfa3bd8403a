package output

import (
	"fmt"
	"io"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// Quote writes what is in a quote of size bytes.
func Quote(w io.Writer, q *quote.Quote, size int) error {
	p := NewPage(w)
	h, s := q.Header, q.Signature
	p.Row("quote", "%s, version %d, %s, %d bytes", h.TEE, h.Version, h.KeyType, size)
	p.Row("QE vendor", "%s", vendor(h.VendorID))
	p.Row("user data", "%s", h.UserData)
	if h.Version == quote.Version3 {
		p.Row("QE, PCE SVN", "%d, %d", h.QESVN, h.PCESVN)
	}
	p.Line("")
	if q.Enclave != nil {
		p.Line("enclave")
		enclave(p, q.Enclave)
	} else {
		p.Row("trust domain", "%s", q.BodyType)
		trustDomain(p, q.TD)
	}
	p.Line("")
	p.Line("quoting enclave")
	enclave(p, &s.QEReport)
	p.Row("  auth data", "%s", s.QEAuthData)
	p.Line("")
	p.Row("certification", "%s, %d bytes", s.CertificationData.Type, len(s.CertificationData.Data))
	if chain, err := s.CertificationData.Certificates(); err == nil {
		for _, c := range chain {
			p.Row("  certificate", "%q", c.Subject.CommonName)
		}
	}
	if id, err := s.CertificationData.PlatformID(); err == nil {
		p.Row("  CPUSVN, PCE SVN", "%s, %d", id.CPUSVN, id.PCESVN)
	}
	return p.Err()
}

func vendor(v quote.VendorID) string {
	if v == quote.IntelVendorID() {
		return v.String() + " (Intel)"
	}
	return v.String()
}

func enclave(p *Page, b *sgx.ReportBody) {
	p.Row("  MRENCLAVE", "%s", b.MREnclave)
	p.Row("  MRSIGNER", "%s", b.MRSigner)
	p.Row("  product, SVN", "%d, %d", b.ISVProdID, b.ISVSVN)
	p.Row("  attributes", "%s", b.Attributes)
	p.Row("  CPUSVN", "%s", b.CPUSVN)
	// Few enclaves have these.
	if b.MiscSelect != 0 || b.CETAttributes != 0 {
		p.Row("  MISC, CET", "%#x, %#x", b.MiscSelect, b.CETAttributes)
	}
	if b.ISVExtProdID != (sgx.ID16{}) || b.ISVFamilyID != (sgx.ID16{}) {
		p.Row("  ext. product", "%s, family %s", b.ISVExtProdID, b.ISVFamilyID)
	}
	if b.ConfigID != (sgx.ConfigID{}) || b.ConfigSVN != 0 {
		p.Row("  configuration", "%s, SVN %d", b.ConfigID, b.ConfigSVN)
	}
	p.Row("  report data", "%s", b.ReportData)
}

func trustDomain(p *Page, td *tdx.ReportBody) {
	p.Row("  MRTD", "%s", td.MRTD)
	for i, m := range td.RTMR {
		p.Row(fmt.Sprintf("  RTMR%d", i), "%s", m)
	}
	p.Row("  MRCONFIGID", "%s", td.MRConfigID)
	p.Row("  MROWNER", "%s", td.MROwner)
	p.Row("  MROWNERCONFIG", "%s", td.MROwnerConfig)
	p.Row("  TD attributes", "%s", td.TDAttributes.Describe())
	p.Row("  XFAM", "%s", td.XFAM)
	p.Row("  TEE TCB SVN", "%s", td.TEETCBSVN)
	p.Row("  MRSEAM", "%s", td.MRSEAM)
	p.Row("  MRSIGNERSEAM", "%s", td.MRSignerSEAM)
	p.Row("  SEAM attrs", "%s", td.SEAMAttributes)
	p.Row("  report data", "%s", td.ReportData)
	if td.TDX15 == nil {
		return
	}
	p.Row("  TEE TCB SVN 2", "%s", td.TDX15.TEETCBSVN2)
	p.Row("  MRSERVICETD", "%s", td.TDX15.MRServiceTD)
	ex := td.TDX15.Ex
	if ex == nil {
		return
	}
	p.Row("  VM ID", "%d", ex.VMID)
	p.Row("  TD ID", "%s", ex.TDID)
	p.Row("  DEVINFO", "%s", ex.DevInfo)
	p.Row("  at launch", "CPUSVN %s, TEE TCB SVN %s, FMSPC %s", ex.InitCPUSVN, ex.InitTEETCBSVN, ex.InitTEEFMSPC)
	p.Row("  service TD then", "%s, attributes %s", ex.InitServiceTDHash, ex.InitServiceTDAttributes)
	p.Row("  service TD now", "%s, attributes %s", ex.CurrentServiceTDHash, ex.CurrentServiceTDAttributes)
}
