package attest

import (
	"errors"
	"fmt"
)

// CheckName identifies a check in a Result.
type CheckName string

// The checks of Verifier.Verify, in the order of the proof: from the trusted root down
// to the enclave. A check that the policy does not ask for, or for which something is
// missing, is not in the Result.
const (
	// CheckTrustedRoot checks that the key of the root of the certificate chain is the
	// key of a trusted root.
	CheckTrustedRoot CheckName = "trusted root"
	// CheckPCKChain checks that each certificate of the PCK certificate chain is signed
	// by the next one, and that each issuer is allowed to sign.
	CheckPCKChain CheckName = "PCK certificate chain"
	// CheckPlatform checks that the PCK certificate has a well-formed SGX extension.
	CheckPlatform CheckName = "platform"
	// CheckCertificatesValid checks that the certificates of the chain are valid at the
	// time of verification.
	CheckCertificatesValid CheckName = "certificates valid"

	// CheckRootCRL checks that the root CRL (certificate revocation list) is well-formed
	// and signed by the root.
	CheckRootCRL CheckName = "root CRL"
	// CheckPCKCRL checks that the PCK CRL is well-formed and signed by the PCK's CA.
	CheckPCKCRL CheckName = "PCK CRL"
	// CheckTCBInfo checks that the TCB info is well-formed and signed by a TCB signing
	// certificate of the root.
	CheckTCBInfo CheckName = "TCB info"
	// CheckQEIdentity checks the same for the QE identity.
	CheckQEIdentity CheckName = "QE identity"
	// CheckRevocation checks that no certificate of the proof is revoked.
	CheckRevocation CheckName = "revocation"
	// CheckCollateralValid checks that the collateral is valid at the time of
	// verification.
	CheckCollateralValid CheckName = "collateral valid"
	// CheckCollateralAge checks Policy.MaxCollateralAge.
	CheckCollateralAge CheckName = "collateral age"
	// CheckCollateralTEE checks that TCB info and QE identity are for the TEE of the quote:
	// SGX or TDX.
	CheckCollateralTEE CheckName = "collateral TEE"
	// CheckCollateralPlatform checks that the TCB info is for the family of the platform.
	CheckCollateralPlatform CheckName = "collateral platform"

	// CheckQEReport checks that the key of the PCK certificate signed the QE report.
	CheckQEReport CheckName = "QE report signature"
	// CheckQuotingEnclave checks that the QE report is that of the genuine quoting
	// enclave.
	CheckQuotingEnclave CheckName = "quoting enclave"
	// CheckKeyBinding checks that the QE report binds the attestation key.
	CheckKeyBinding CheckName = "attestation key binding"
	// CheckQuoteSignature checks that the attestation key signed the quote.
	CheckQuoteSignature CheckName = "quote signature"
	// CheckQEVendor checks that the quoting enclave's vendor is Intel.
	CheckQEVendor CheckName = "QE vendor"

	// CheckTDXModule checks that the TDX module that launched the trust domain is Intel's,
	// of a version in the TCB info.
	CheckTDXModule CheckName = "TDX module"
	// CheckTCBStatus checks that the TCB status is UpToDate or in Policy.Statuses.
	CheckTCBStatus CheckName = "TCB status"
	// CheckAdvisories checks Policy.Advisories.
	CheckAdvisories CheckName = "advisories"
	// CheckRefusedAdvisories checks Policy.RefusedAdvisories.
	CheckRefusedAdvisories CheckName = "refused advisories"
	// CheckTCBDate checks Policy.MinTCBDate.
	CheckTCBDate CheckName = "TCB date"
	// CheckEvaluationDataNumber checks Policy.MinEvaluationDataNumber.
	CheckEvaluationDataNumber CheckName = "evaluation data number"
	// CheckDebugMode checks that no debugger can read the enclave or trust domain, or
	// that Policy.AllowDebug is set.
	CheckDebugMode CheckName = "debug mode"

	// CheckPlatformInstance checks Policy.PlatformInstances.
	CheckPlatformInstance CheckName = "platform instance"
	// CheckPPID checks Policy.PPIDs.
	CheckPPID CheckName = "PPID"
	// CheckFMSPC checks Policy.FMSPCs.
	CheckFMSPC CheckName = "FMSPC"
	// CheckDynamicPlatform checks Policy.RefuseDynamicPlatform.
	CheckDynamicPlatform CheckName = "dynamic platform"
	// CheckCachedKeys checks Policy.RefuseCachedKeys.
	CheckCachedKeys CheckName = "cached keys"
	// CheckSMT checks Policy.RefuseSMT.
	CheckSMT CheckName = "SMT"

	// CheckMREnclave checks Policy.MREnclaves.
	CheckMREnclave CheckName = "MRENCLAVE"
	// CheckMRSigner checks Policy.MRSigners.
	CheckMRSigner CheckName = "MRSIGNER"
	// CheckProduct checks Policy.ISVProdID.
	CheckProduct CheckName = "product"
	// CheckSecurityVersion checks Policy.MinISVSVN.
	CheckSecurityVersion CheckName = "security version"
	// CheckExtendedProduct checks Policy.ISVExtProdIDs.
	CheckExtendedProduct CheckName = "extended product"
	// CheckEnclaveFamily checks Policy.ISVFamilyIDs.
	CheckEnclaveFamily CheckName = "enclave family"
	// CheckConfigID checks Policy.ConfigIDs.
	CheckConfigID CheckName = "CONFIGID"
	// CheckConfigSVN checks Policy.MinConfigSVN.
	CheckConfigSVN CheckName = "CONFIGSVN"
	// CheckAttributes checks Policy.Attributes.
	CheckAttributes CheckName = "ATTRIBUTES"
	// CheckXFRM checks Policy.XFRM.
	CheckXFRM CheckName = "XFRM"
	// CheckMiscSelect checks Policy.MiscSelect.
	CheckMiscSelect CheckName = "MISCSELECT"

	// CheckTEE checks that the policy accepts the kind of TEE: an enclave, or a trust domain
	// (Policy.TrustDomain).
	CheckTEE CheckName = "TEE"
	// CheckTDAttributes checks that the reserved bits of TDATTRIBUTES are zero.
	CheckTDAttributes CheckName = "TD attributes"
	// CheckSEPTVEDisable checks that the attribute SEPT_VE_DISABLE is set, or that
	// TDPolicy.AllowSEPTVE is.
	CheckSEPTVEDisable CheckName = "SEPT_VE_DISABLE"
	// CheckMigratable checks that the attribute MIGRATABLE is clear, or that
	// TDPolicy.AllowMigratable is set.
	CheckMigratable CheckName = "MIGRATABLE"
	// CheckPKS checks TDPolicy.RefusePKS.
	CheckPKS CheckName = "PKS"
	// CheckKL checks TDPolicy.RefuseKL.
	CheckKL CheckName = "KL"
	// CheckPerfmon checks TDPolicy.RefusePerfmon.
	CheckPerfmon CheckName = "PERFMON"
	// CheckXFAM checks that XFAM has x87 and SSE, and nothing besides that is not in
	// TDPolicy.AllowedXFAM.
	CheckXFAM CheckName = "XFAM"
	// CheckTEETCBSVN checks TDPolicy.MinTEETCBSVN.
	CheckTEETCBSVN CheckName = "TEE_TCB_SVN"
	// CheckMRTD to CheckMRServiceTD check the list in TDPolicy of that name.
	CheckMRTD          CheckName = "MRTD"
	CheckRTMR0         CheckName = "RTMR0"
	CheckRTMR1         CheckName = "RTMR1"
	CheckRTMR2         CheckName = "RTMR2"
	CheckRTMR3         CheckName = "RTMR3"
	CheckMRSEAM        CheckName = "MRSEAM"
	CheckMRConfigID    CheckName = "MRCONFIGID"
	CheckMROwner       CheckName = "MROWNER"
	CheckMROwnerConfig CheckName = "MROWNERCONFIG"
	CheckMRServiceTD   CheckName = "MRSERVICETD"

	// CheckReportData checks Policy.ReportData.
	CheckReportData CheckName = "report data"
)

// CheckPCKCA is the check that Verifier.Check makes instead of CheckPCKChain: the root
// signs itself and the CA of PCK certificates, and both are allowed to sign.
const CheckPCKCA CheckName = "PCK CA"

// Check is the outcome of one step of a verification.
type Check struct {
	Name   CheckName `json:"name"`
	Passed bool      `json:"passed"`
	// Detail is what was found, for people.
	Detail string `json:"detail"`

	err error // why it failed
}

// newCheck returns the outcome of a check: it passed with a detail or failed with an
// error.
func newCheck(name CheckName, detail string, err error) Check {
	if err != nil {
		return Check{Name: name, Detail: err.Error(), err: err}
	}
	return Check{Name: name, Passed: true, Detail: detail}
}

// ofCollateral reports whether a check is about the collateral: if it fails, the quote may
// well be genuine.
func (n CheckName) ofCollateral() bool {
	switch n {
	case CheckRootCRL, CheckPCKCRL, CheckTCBInfo, CheckQEIdentity,
		CheckCollateralValid, CheckCollateralAge, CheckCollateralTEE, CheckCollateralPlatform, CheckEvaluationDataNumber:
		return true
	}
	return false
}

// NeedsCollateral reports whether the outcome of a check depends on collateral: if it failed,
// it may pass with other collateral.
func (n CheckName) NeedsCollateral() bool {
	switch n {
	case CheckPCKCA, CheckRevocation, CheckQuotingEnclave, CheckTDXModule,
		CheckTCBStatus, CheckAdvisories, CheckRefusedAdvisories, CheckTCBDate:
		return true
	}
	return n.ofCollateral()
}

// CheckError is the error of a verification in which a check failed. It wraps
// ErrNotTrusted, the cause, and ErrCollateral if the check is about the collateral.
type CheckError struct {
	// Check is the first check that failed, in the order of the proof. Result.Checks has
	// them all.
	Check CheckName
	// Err is why it failed.
	Err error

	collateralOnly bool // there was no quote
}

func (e *CheckError) ofCollateral() bool { return e.collateralOnly || e.Check.ofCollateral() }

func (e *CheckError) Error() string {
	if e.ofCollateral() {
		return fmt.Sprintf("attest: %v: %s: %v", ErrCollateral, e.Check, e.Err)
	}
	return fmt.Sprintf("attest: %v: %s: %v", ErrNotTrusted, e.Check, e.Err)
}

// Unwrap returns ErrNotTrusted, the cause, and ErrCollateral if the check is about the
// collateral.
func (e *CheckError) Unwrap() []error {
	if e.ofCollateral() {
		return []error{ErrNotTrusted, ErrCollateral, e.Err}
	}
	return []error{ErrNotTrusted, e.Err}
}

// checkError returns the error of a check that failed. A check that was read from JSON
// has the text of its cause only.
func (c Check) checkError() error {
	cause := c.err
	if cause == nil {
		cause = errors.New(c.Detail)
	}
	return &CheckError{Check: c.Name, Err: cause}
}

// Unchecked is something that a verification did not check.
type Unchecked string

// What a verification may not have checked. With one of the first four it is
// incomplete; the others are the caller's decision.
const (
	// UncheckedRevocation and UncheckedTCB: there was no collateral.
	UncheckedRevocation Unchecked = "revocation of the certificates"
	UncheckedTCB        Unchecked = "TCB status of the platform, security version of the quoting enclave"
	// UncheckedTDXModule: there was no collateral for a quote of a trust domain.
	UncheckedTDXModule Unchecked = "TDX module: its signer, its attributes, and the status of its version"
	// UncheckedIdentity: the policy names neither enclaves nor trust domains.
	UncheckedIdentity Unchecked = "which enclave or trust domain is accepted: the policy names none"
	// UncheckedQuotingEnclave: there was no collateral, and the trusted root has no
	// QuotingEnclaves.
	UncheckedQuotingEnclave Unchecked = "identity of the quoting enclave: the root has none"
	// UncheckedEnclave: Policy.AnyEnclave is set.
	UncheckedEnclave Unchecked = "which enclave it is"
	// UncheckedTrustDomain: TDPolicy.Any is set.
	UncheckedTrustDomain Unchecked = "which trust domain it is"
	// UncheckedRTMR: TDPolicy.RTMR0 to RTMR3 are nil.
	UncheckedRTMR Unchecked = "what the trust domain has measured since its launch: RTMR0 to RTMR3"
	// UncheckedServiceTD: the trust domain has an MRSERVICETD, and TDPolicy.MRServiceTDs is
	// nil.
	UncheckedServiceTD Unchecked = "which service trust domains it is bound to: MRSERVICETD"
	// UncheckedReportData: Policy.ReportData is nil.
	UncheckedReportData Unchecked = "whether the report data is what you expect, such as a nonce"
)

// incomplete reports whether a verification without this is incomplete.
func (u Unchecked) incomplete() bool {
	return u == UncheckedRevocation || u == UncheckedTCB || u == UncheckedTDXModule || u == UncheckedIdentity
}
