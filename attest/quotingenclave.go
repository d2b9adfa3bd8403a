package attest

import (
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// checkQEReport checks that the key of the PCK certificate signed the QE report.
func checkQEReport(q *quote.Quote, pck *x509.Certificate) Check {
	key, err := p256Key(pck)
	if err != nil {
		return newCheck(CheckQEReport, "", err)
	}
	report, _ := q.Signature.QEReport.MarshalBinary()
	if !verifySignature(key, report, q.Signature.QEReportSignature) {
		return newCheck(CheckQEReport, "", errors.New("signature verification failed with the key of the PCK certificate"))
	}
	return newCheck(CheckQEReport, fmt.Sprintf("QE with MRSIGNER %s, security version %d", q.Signature.QEReport.MRSigner, q.Signature.QEReport.ISVSVN), nil)
}

// checkQuotingEnclave checks that the QE report is of the genuine quoting enclave: a
// platform certifies the keys of any enclave that asks for it. Without collateral (nil),
// the root's QuotingEnclaves decide; if it has none, nothing is checked.
func checkQuotingEnclave(q *quote.Quote, chain *pckChain, k *checkedCollateral) (c Check, ok bool) {
	report := q.Signature.QEReport
	want, known := chain.trusted.QuotingEnclaves[q.Header.TEE]
	switch {
	case k != nil && k.qeIdentity != nil && k.qeIdentity.tee != teeOf(q):
		return newCheck(CheckQuotingEnclave, "", fmt.Errorf("cannot identify the quoting enclave: the QE identity is for %s", k.qeIdentity.tee)), true
	case k != nil && k.qeIdentity != nil:
		return newCheck(CheckQuotingEnclave, fmt.Sprintf("matches the QE identity, security version %d", report.ISVSVN), k.qeIdentity.matches(report)), true
	case k != nil:
		return newCheck(CheckQuotingEnclave, "", errors.New("cannot identify the quoting enclave: the collateral has no valid QE identity")), true
	case known:
		return newCheck(CheckQuotingEnclave, fmt.Sprintf("signer and product %d are the root's", report.ISVProdID), checkKnownEnclave(report, want)), true
	}
	return Check{}, false
}

// checkKnownEnclave checks that a report is of a quoting enclave that is initialized and
// not in debug mode. The masks are those of Intel's QE identity: MODE64BIT and XFRM may
// differ.
func checkKnownEnclave(report sgx.ReportBody, want QuotingEnclave) error {
	if err := checkMaker(report, want); err != nil {
		return err
	}
	if flags := report.Attributes.Flags &^ sgx.FlagMode64Bit; flags != sgx.FlagInit|sgx.FlagProvisionKey || report.MiscSelect != 0 {
		return fmt.Errorf("the quoting enclave has attributes %s and MISCSELECT %#x", report.Attributes, report.MiscSelect)
	}
	return nil
}

// checkMaker checks signer and product of a quoting enclave.
func checkMaker(report sgx.ReportBody, want QuotingEnclave) error {
	if report.MRSigner != want.MRSigner || report.ISVProdID != want.ISVProdID {
		return fmt.Errorf("the enclave that signed the quote has MRSIGNER %s and product %d: it is not the quoting enclave (%s, %d)",
			report.MRSigner, report.ISVProdID, want.MRSigner, want.ISVProdID)
	}
	return nil
}
