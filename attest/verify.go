package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// checkCollateralPeriods: the collateral is valid at a time, and as old as the
// caller wants.
func checkCollateralPeriods(r *Result, k *checked, policy Policy, at time.Time) {
	periods := k.periods()
	if len(periods) == 0 {
		return // nothing of it could be read, which is said
	}
	if first := earliest(periods); first.Before(r.Expires) {
		r.Expires = first
	}
	note := ""
	if policy.AcceptExpired {
		for i, p := range periods {
			if (p.what == theTCBInfo || p.what == theQEIdentity) && at.After(p.until) {
				periods[i].until = at
				note = "; what is expired is accepted as asked for"
			}
		}
	}
	detail, err := checkPeriods(periods, at, skew)
	r.add("collateral valid", detail+note, err)
	policy.checkAge(r, k, at)
}

// checkQuote: the quote is signed by a key that the quoting enclave has made.
func checkQuote(r *Result, q *quote.Quote) {
	detail, err := checkBinding(q)
	r.add("attestation key binding", detail, err)
	detail, err = checkQuoteSignature(q)
	r.add("quote signature", detail, err)
	if err = nil; q.Header.VendorID != quote.IntelVendorID() {
		err = fmt.Errorf("%s, which is not Intel: what it means by a quote is not known", q.Header.VendorID)
	}
	r.add("QE vendor", "Intel", err)
}

// checkTCB: the security versions of the platform and its quoting enclave are
// accepted.
func checkTCB(r *Result, q *quote.Quote, platform *Platform, k *checked, policy Policy) {
	if platform == nil || k.tcb == nil || k.qe == nil {
		r.add("TCB status", "", errors.New("without a platform, TCB info and QE identity nobody can tell"))
		return
	}
	r.EvaluationDataNumber = min(*k.tcb.TCBEvaluationDataNumber, *k.qe.TCBEvaluationDataNumber)
	if !bytes.Equal(platform.FMSPC, k.tcb.FMSPC[:]) || !bytes.Equal(platform.PCEID, k.tcb.PCEID[:]) {
		r.add("TCB status", "", fmt.Errorf("the TCB info is for the FMSPC %X and the PCE %X, and the platform has %X and %X",
			k.tcb.FMSPC, k.tcb.PCEID, []byte(platform.FMSPC), []byte(platform.PCEID)))
		return
	}
	level, err := k.tcb.level(platform)
	if err != nil {
		r.add("TCB status", "", err)
		return
	}
	qe, err := k.qe.level(q.Signature.QEReport.ISVSVN)
	if err != nil {
		r.add("TCB status", "", err)
		return
	}
	if r.Status, err = converge(level.Status, qe.Status); err != nil {
		r.add("TCB status", "", err)
		return
	}
	r.TCBDate = level.Date
	if qe.Date.Before(level.Date) {
		r.TCBDate = qe.Date
	}
	r.Advisories = slices.Concat(level.Advisories, qe.Advisories)
	slices.Sort(r.Advisories)
	r.Advisories = slices.Compact(r.Advisories)

	detail, err := policy.checkStatus(r.Status)
	if err == nil {
		detail += "; as of " + r.TCBDate.UTC().Format("2006-01-02")
	}
	r.add("TCB status", detail, err)
	detail, err = policy.checkAdvisories(r.Status, r.Advisories)
	r.add("advisories", detail, err)
}

// checkQEReport: the PCK signed the report of the quoting enclave.
func checkQEReport(q *quote.Quote, pck *x509.Certificate) (string, error) {
	key, err := p256Key(pck)
	if err != nil {
		return "", err
	}
	report, _ := q.Signature.QEReport.MarshalBinary()
	if !verify(key, report, q.Signature.QEReportSignature) {
		return "", errors.New("the report of the quoting enclave is not signed by the PCK certificate's key")
	}
	return fmt.Sprintf("QE with MRSIGNER %s, security version %d", q.Signature.QEReport.MRSigner, q.Signature.QEReport.ISVSVN), nil
}

// checkQuotingEnclave: it is the quoting enclave who vouches for the quote. A
// platform certifies the keys of any enclave that asks for it.
func checkQuotingEnclave(r *Result, q *quote.Quote, chain *pckChain, k *checked) {
	detail, err := checkQEReport(q, chain.leaf)
	r.add("QE report signature", detail, err)
	report := q.Signature.QEReport
	want, known := chain.trusted.QuotingEnclaves[q.Header.TEE]
	switch {
	case k != nil && k.qe != nil:
		r.add("quoting enclave", fmt.Sprintf("that of the QE identity, version %d", report.ISVSVN), k.qe.matches(report))
	case k != nil:
		r.add("quoting enclave", "", errors.New("without a QE identity nobody can tell whether it is one"))
	case known:
		detail, err := checkMaker(report, want)
		r.add("quoting enclave", detail, err)
	default:
		r.NotChecked = append(r.NotChecked, "identity of the quoting enclave: this root tells none")
	}
}

// checkMaker: the report is of the maker's quoting enclave, initialized and not in
// debug mode. The masks are those of Intel's identity of it: MODE64BIT and XFRM may
// differ.
func checkMaker(report sgx.ReportBody, want QuotingEnclave) (string, error) {
	if report.MRSigner != want.MRSigner || report.ISVProdID != want.ISVProdID {
		return "", fmt.Errorf("an enclave with MRSIGNER %s and product %d vouches for the quote: it is not the quoting enclave (%s, %d)",
			report.MRSigner, report.ISVProdID, want.MRSigner, want.ISVProdID)
	}
	if flags := report.Attributes.Flags &^ sgx.FlagMode64Bit; flags != sgx.FlagInit|sgx.FlagProvisionKey || report.MiscSelect != 0 {
		return "", fmt.Errorf("the quoting enclave has attributes %s and MISCSELECT %#x", report.Attributes, report.MiscSelect)
	}
	return fmt.Sprintf("signer and product %d as they should be", report.ISVProdID), nil
}

// checkBinding: the quoting enclave's report is about this attestation key. All
// 64 bytes of the report data are compared; the second half must be zero.
func checkBinding(q *quote.Quote) (string, error) {
	hash := sha256.New()
	hash.Write(q.Signature.AttestationKey[:])
	hash.Write(q.Signature.QEAuthData)
	var want [64]byte
	hash.Sum(want[:0])
	if !bytes.Equal(q.Signature.QEReport.ReportData[:], want[:]) {
		return "", errors.New("the report of the quoting enclave binds another attestation key")
	}
	return "the QE report binds the attestation key", nil
}

// checkQuoteSignature: the attestation key signed the quote.
func checkQuoteSignature(q *quote.Quote) (string, error) {
	key, err := q.Signature.AttestationKey.ECDSA()
	if err != nil {
		return "", err
	}
	signed, err := q.SignedBytes()
	if err != nil {
		return "", err
	}
	if !verify(key, signed, q.Signature.Signature) {
		return "", errors.New("the quote is not signed by its attestation key: it was changed")
	}
	if q.Enclave != nil {
		return fmt.Sprintf("enclave with MRENCLAVE %s", q.Enclave.MREnclave), nil
	}
	return fmt.Sprintf("trust domain with MRTD %s", q.TD.MRTD), nil
}

func checkDebug(q *quote.Quote, allowed bool) (string, error) {
	const tdUnderDebug = 0xff // TUD, bits 7:0 of TDATTRIBUTES: each opens the TD
	debug := q.Enclave != nil && q.Enclave.Attributes.Debug() || q.TD != nil && q.TD.TDAttributes&tdUnderDebug != 0
	switch {
	case !debug:
		return "off: a debugger cannot read it", nil
	case allowed:
		return "DEBUG: a debugger can read and change everything in it; accepted as asked for", nil
	}
	return "", errors.New("DEBUG: a debugger can read and change everything in it")
}

// verify checks an ECDSA P-256 signature over the SHA-256 of data.
func verify(key *ecdsa.PublicKey, data []byte, s quote.Signature) bool {
	digest := sha256.Sum256(data)
	// Verify refuses numbers that are zero or not below the group's order.
	return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:]))
}
