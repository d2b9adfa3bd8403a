package attest

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/confcom/confcom/quote"
)

// checkedCollateral is parsed collateral, and the outcome of the checks that depend
// neither on the time nor on the leaf of the certificate chain.
type checkedCollateral struct {
	rootCRL, pckCRL *crl
	signers         []*x509.Certificate // of TCB info and QE identity
	// tcbInfo and qeIdentity are nil unless their signatures are valid.
	tcbInfo    *tcbInfo
	qeIdentity *qeIdentity

	checks []Check
}

// passed reports whether all checks passed.
func (k *checkedCollateral) passed() bool {
	return !slices.ContainsFunc(k.checks, func(c Check) bool { return !c.Passed })
}

// collateral returns collateral with its checks, for the CAs of a chain.
func (m *memory) collateral(c *Collateral, a *authorities) *checkedCollateral {
	k := &checkedCollateral{checks: make([]Check, 0, 4)}
	var err error
	k.rootCRL, err = m.crl(c.RootCRL, a.root)
	k.checks = append(k.checks, newCheck(CheckRootCRL, k.rootCRL.describe(), err))
	k.pckCRL, err = m.crl(c.PCKCRL, a.intermediate)
	k.checks = append(k.checks, newCheck(CheckPCKCRL, k.pckCRL.describe(), err))

	signer, err := m.signer(c.TCBInfoIssuerChain, a.root)
	if err == nil {
		k.signers = append(k.signers, signer)
		k.tcbInfo, err = m.tcbInfo(c.TCBInfo, c.TCBInfoSignature, signer)
	}
	var detail string
	if err == nil {
		detail = fmt.Sprintf("signed by %q, evaluation data number %d, FMSPC %X", signer.Subject.CommonName, *k.tcbInfo.TCBEvaluationDataNumber, k.tcbInfo.FMSPC[:])
	}
	k.checks = append(k.checks, newCheck(CheckTCBInfo, detail, err))

	signer, err = m.signer(c.QEIdentityIssuerChain, a.root)
	if err == nil {
		if !slices.ContainsFunc(k.signers, signer.Equal) {
			k.signers = append(k.signers, signer)
		}
		k.qeIdentity, err = m.qeIdentity(c.QEIdentity, c.QEIdentitySignature, signer)
	}
	if err == nil {
		detail = fmt.Sprintf("signed by %q, evaluation data number %d", signer.Subject.CommonName, *k.qeIdentity.TCBEvaluationDataNumber)
	}
	k.checks = append(k.checks, newCheck(CheckQEIdentity, detail, err))
	return k
}

// parseTCBSigner returns the certificate that signs TCB info and QE identities from its
// issuer chain in PEM, and checks that the root issued it for that.
func parseTCBSigner(chain string, root *x509.Certificate) (*x509.Certificate, error) {
	first, others := cutCertificate([]byte(chain))
	if isPEM(others, root) {
		chain = string(first) // the root has been read
	}
	certificates, err := quote.ParseCertificates([]byte(chain))
	if err != nil {
		return nil, fmt.Errorf("issuer chain: %w", err)
	}
	if n := len(certificates); n != 1 && n != 2 {
		return nil, fmt.Errorf("issuer chain: %d certificates, want the signer's and optionally the root's", n)
	}
	if len(certificates) == 2 && !bytes.Equal(certificates[1].Raw, root.Raw) {
		// It may be another certificate of the same root.
		head := certificates[1]
		if !bytes.Equal(head.RawSubjectPublicKeyInfo, root.RawSubjectPublicKeyInfo) {
			return nil, fmt.Errorf("issuer chain: it ends in %q, which is not the root of the PCK certificate", head.Subject.CommonName)
		}
		if err := checkLink(head, head, 1); err != nil {
			return nil, fmt.Errorf("issuer chain: %w", err)
		}
	}
	signer := certificates[0]
	// The root issues other certificates as well, such as those of CAs.
	if !strings.Contains(signer.Subject.CommonName, "SGX TCB Signing") || signer.IsCA || signer.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, fmt.Errorf("%q is not a TCB signing certificate", signer.Subject.CommonName)
	}
	if err := checkLink(signer, root, 0); err != nil {
		return nil, err
	}
	return signer, nil
}

// evaluationDataNumber returns the lower number of TCB info and QE identity, or 0 if one
// of them is missing.
func (k *checkedCollateral) evaluationDataNumber() int {
	if k.tcbInfo == nil || k.qeIdentity == nil {
		return 0
	}
	return min(*k.tcbInfo.TCBEvaluationDataNumber, *k.qeIdentity.TCBEvaluationDataNumber)
}

// signedPeriods returns the periods of TCB info and QE identity.
func (k *checkedCollateral) signedPeriods() (periods []period) {
	if k.tcbInfo != nil {
		periods = append(periods, k.tcbInfo.period("the TCB info"))
	}
	if k.qeIdentity != nil {
		periods = append(periods, k.qeIdentity.period("the QE identity"))
	}
	return periods
}

// checkTEE checks that TCB info and QE identity are for a TEE.
func (k *checkedCollateral) checkTEE(tee quote.TEE) Check {
	return newCheck(CheckCollateralTEE, tee.String(), k.forTEE(tee))
}

func (k *checkedCollateral) forTEE(tee quote.TEE) error {
	switch {
	case k.tcbInfo != nil && k.tcbInfo.tee != tee:
		return fmt.Errorf("the TCB info is for %s, want one for %s: %s", k.tcbInfo.tee, tee, servicePaths(tee))
	case k.qeIdentity != nil && k.qeIdentity.tee != tee:
		return fmt.Errorf("the QE identity is for %s (%s), want one for %s: %s", k.qeIdentity.tee, k.qeIdentity.ID, tee, servicePaths(tee))
	}
	return nil
}

// servicePaths says where a service has collateral for a TEE.
func servicePaths(tee quote.TEE) string {
	return fmt.Sprintf("services have it under paths with /%s/", strings.ToLower(tee.String()))
}

// tee returns the TEE that the collateral is for: of the TCB info or, if that is missing, of
// the QE identity. If both are missing, ok is false.
func (k *checkedCollateral) tee() (tee quote.TEE, ok bool) {
	switch {
	case k.tcbInfo != nil:
		return k.tcbInfo.tee, true
	case k.qeIdentity != nil:
		return k.qeIdentity.tee, true
	}
	return 0, false
}

// checkPlatform checks that the collateral is for the platform of a PCK certificate.
func (k *checkedCollateral) checkPlatform(platform *Platform) Check {
	return newCheck(CheckCollateralPlatform, fmt.Sprintf("FMSPC %X, PCE %X", k.tcbInfo.FMSPC, k.tcbInfo.PCEID), k.forPlatform(platform))
}

func (k *checkedCollateral) forPlatform(platform *Platform) error {
	if bytes.Equal(platform.FMSPC, k.tcbInfo.FMSPC[:]) && bytes.Equal(platform.PCEID, k.tcbInfo.PCEID[:]) {
		return nil
	}
	return fmt.Errorf("the TCB info is for FMSPC %X and PCE %X, but the platform has FMSPC %X and PCE %X",
		k.tcbInfo.FMSPC, k.tcbInfo.PCEID, []byte(platform.FMSPC), []byte(platform.PCEID))
}

// periods returns the periods of all parts.
func (k *checkedCollateral) periods() []period {
	periods := k.signedPeriods()
	if k.rootCRL != nil {
		periods = append(periods, k.rootCRL.period("the root CRL"))
	}
	if k.pckCRL != nil {
		pckCRL := k.pckCRL.period("the PCK CRL")
		pckCRL.aging = true
		periods = append(periods, pckCRL)
	}
	for _, s := range k.signers {
		periods = append(periods, periodOf(s))
	}
	return periods
}
